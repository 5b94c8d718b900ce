"""All networks of the converter by their name on the command line."""

from porting import clip, otuken3d, point_e, pointnet2, t5
from porting.rules import Network

NETWORKS: dict[str, Network] = {
    **t5.NETWORKS,
    **clip.NETWORKS,
    **point_e.NETWORKS,
    **pointnet2.NETWORKS,
    **otuken3d.NETWORKS,
}
