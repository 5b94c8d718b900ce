"""Converts published PyTorch weights for otuken_jax.

    python -m porting NETWORK SOURCE --out DIR [--dtype float32|bfloat16] [--verify]
    python -m porting export DIR --out DIR
    python -m porting table [NETWORK ...] [--config NAME ...]

SOURCE is a file (.safetensors, .safetensors.index.json, .bin, .pt), a folder, or a published name:
OWNER/NAME[@REVISION] on the Hugging Face hub for t5 and clip, the model's own name for Point-E.
"""

import sys
from pathlib import Path

from otuken_jax.errors import Parser, UserError, run_command
from porting.convert import DTYPES, DifferenceError, convert
from porting.export import export
from porting.registry import NETWORKS
from porting.rules import Network
from porting.verify import print_table


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    command = {"export": export_command, "table": table_command}.get(argv[0] if argv else "")
    return command(argv[1:]) if command else convert_command(argv)


def convert_command(argv: list[str]) -> int:
    """`python -m porting NETWORK SOURCE`: exit status 1 where --verify finds a difference."""
    parser = _parser("", description=__doc__)
    parser.add_argument("network", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("source", metavar="SOURCE", help="file, folder or published name")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="type of the tensors")
    parser.add_argument("--verify", action="store_true", help="compare with PyTorch, on the CPU")
    args = parser.parse_args(argv)
    try:
        card, differences = convert(
            find_network(args.network), args.source, args.out, dtype=args.dtype, verify=args.verify
        )
    except DifferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{card.network}: {card.num_parameters:,} numbers as {card.dtype} in {args.out}")
    if card.unused:
        parts = sorted({name.split(".")[0] for name in card.unused})
        print(
            f"{len(card.unused)} source tensors have no use here ({', '.join(parts)}); see the card"
        )
    for difference in differences:
        print(difference)
    return 0


def export_command(argv: list[str]) -> int:
    """`python -m porting export`: converted weights or a training's model to PyTorch names."""
    parser = _parser("export")
    parser.add_argument("folder", metavar="DIR", type=Path, help="converted weights or a workdir")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write")
    args = parser.parse_args(argv)
    count = export(args.folder, args.out, NETWORKS)
    print(f"{count} tensors under their PyTorch names in {args.out}")
    return 0


def table_command(argv: list[str]) -> int:
    """`python -m porting table`: measured differences at published sizes."""
    parser = _parser("table")
    parser.add_argument("network", metavar="NETWORK", nargs="*", help=", ".join(NETWORKS))
    parser.add_argument(
        "--config", action="extend", nargs="+", metavar="NAME", help="only these published sizes"
    )
    args = parser.parse_args(argv)
    networks = [find_network(name) for name in args.network] or list(NETWORKS.values())
    known = [name for network in networks for name in network.configs]
    if unknown := [name for name in args.config or [] if name not in known]:
        raise UserError(f"no published size {unknown[0]!r}; there are {', '.join(known)}")
    print_table(networks, args.config)
    return 0


def _parser(command: str, **options: str) -> Parser:
    return Parser(prog=f"python -m porting {command}".rstrip(), **options)


def find_network(name: str) -> Network:
    """The network called `name`; UserError lists all names."""
    if name not in NETWORKS:
        raise UserError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


if __name__ == "__main__":
    sys.exit(run_command(main))
