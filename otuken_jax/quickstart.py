"""The whole path on two CPU cores: data, training, evaluation, meshes (`make quickstart`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax import evaluate, train
from otuken_jax.errors import Parser, run_command

# (text, style, second style), as full as the captions that this small model learns from. Training
# shows neither a vase with tulips nor a tomb tower with eight-pointed stars; the last prompt blends
# two styles.
PROMPTS = (
    (
        "ince uzun, oval gövdeli, orta uzunlukta boyunlu bir vazo",
        "İznik üslubunda, lacivert zemin üzerine beyaz kabartma lale motifi",
        None,
    ),
    (
        "Selçuklu üslubunda, kiremit rengi zemin üzerine firuze kabartma sekiz köşeli yıldız "
        "motifli, orta yükseklikte, sivri külahlı, yuvarlak planlı bir kümbet",
        None,
        None,
    ),
    (
        "Anadolu kilimi üslubunda, bordo zemin üzerine krem rengi kabartma elibelinde motifli, "
        "ince uzun, küresel gövdeli, orta kalınlıkta boyunlu bir sürahi",
        None,
        None,
    ),
    (
        "kare biçimli, keskin köşeli, orta kalınlıkta bir karo çini",
        "İznik üslubunda, beyaz zemin üzerine lacivert kabartma çintemani motifi",
        None,
    ),
    (
        "orta boylu, geniş omuzlu, küçük kulplu bir testi",
        "Göktürk üslubunda, granit grisi zemin üzerine siyah oyma koçboynuzu motifi",
        None,
    ),
    (
        "Selçuklu üslubunda, firuze zemin üzerine siyah kabartma baklava motifli, orta "
        "yükseklikte, kubbeli, dar tündüklü bir otağ",
        None,
        None,
    ),
    (
        "derin, yuvarlak gövdeli, alçak ayaklı bir kâse",
        "İznik üslubunda, beyaz zemin üzerine lacivert kabartma penç motifi",
        "Osmanlı barok üslubunda, zümrüt yeşili zemin üzerine altın sarısı kabartma penç motifi",
    ),
)


def generate_all(checkpoint: Path, out: Path) -> list[Path]:
    """Writes a GLB for every prompt, and one contact sheet; returns the paths.

    Without OpenGL there are no pictures: that is said, and the meshes are written all the same.
    """
    from otuken_jax.generate import file_stem
    from otuken_jax.generation import Generator, Prompt
    from otuken_jax.geometry.mesh_io import export
    from otuken_jax.geometry.render import Painter, contact_sheet, save_png
    from otuken_jax.training.loading import load_model

    generator = Generator(load_model(checkpoint))
    paths, images, captions = [], [], []
    paint = Painter(lambda words: print(f"note: {words}", file=sys.stderr))
    for number, (text, style, style2) in enumerate(PROMPTS, start=1):
        generated = generator(Prompt(text, style=style, style2=style2))
        path = out / f"{file_stem(number, text)}.glb"
        export(generated.mesh, path, "glb")
        paths.append(path)
        captions.append("\n".join(s for s in (text, style, style2 and f"+ {style2}") if s))
        images.append(paint(generated.mesh, 384))
    if paint.can_draw:
        sheet = out / "contact-sheet.png"
        save_png(contact_sheet(images, captions, 4), sheet)
        paths.append(sheet)
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m otuken_jax.quickstart", description=__doc__)
    parser.add_argument("--workdir", default="runs/quickstart", help="where everything goes")
    parser.add_argument("--config", default="quickstart")
    arguments, overrides = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    workdir = Path(arguments.workdir)
    trainer = train.run(["--config", arguments.config, "--workdir", str(workdir), *overrides])
    if trainer.interrupted:
        return 0  # saved; the same command goes on
    out = str(workdir / "evaluation.json")
    evaluate.main(["--checkpoint", str(workdir), "--out", out, "--quick"])
    print()
    for path in generate_all(workdir, workdir / "meshes"):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
