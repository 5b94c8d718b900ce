"""What every configuration shares; the others change fields of this one.

Fields are `config.<group>.<field>`; any of them can be set on the command line,
`--config.optim.learning_rate=3e-4`. Derived values follow: `model.voxel_size` moves the data's
resolution too.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The full model at 64^3 with pretrained encoders; v64 is this."""
    config = ConfigDict()

    model = config.model = ConfigDict()
    model.voxel_size = 64  # resolution of the last stage to train
    model.latent_dim = 512
    model.style_dim = 256
    model.ornament_dim = 256
    model.num_queries = 8
    model.fusion_layers = 2
    model.num_heads = 8
    model.mapping_layers = 4
    model.dtype = "bfloat16"  # of the computation; parameters stay float32
    model.remat = True  # recompute blocks in the backward pass: less memory, more time
    # False: encoders are trained from scratch, text as UTF-8 bytes, and no weights are needed.
    model.pretrained = True
    model.text_encoder = ConfigDict()
    model.text_encoder.name = "google/t5-v1_1-base"
    model.text_encoder.weights = "weights/t5-v1_1-base"  # made by `python -m porting t5`
    model.text_encoder.scratch_name = "bytes-small"
    model.point_encoder = ConfigDict()
    model.point_encoder.weights = "weights/point-e-sdf"  # made by `python -m porting point-e/sdf`
    model.point_encoder.num_points = 1024
    model.point_encoder.width = 256
    model.point_encoder.layers = 8
    model.point_encoder.heads = 4
    decoder = model.decoder = ConfigDict()
    decoder.trunk_resolutions = (4, 8, 16, 24, 32)
    decoder.trunk_widths = (512, 512, 256, 128, 128)
    decoder.stage_resolutions = (32, 48, 64)
    decoder.attention_resolutions = (8, 16)
    decoder.norm_groups = 0  # 0: instance norm
    decoder.ornament_width = 128
    decoder.ornament_layers = 3
    decoder.ornament_fraction = 0.12

    data = config.data = ConfigDict()
    # Procedural shapes; or a folder made by otuken_jax.prepare; or both, motifs:0.7,DIR:0.3
    data.source = "motifs"
    data.directory = ""  # where the procedural shapes are kept; empty: <workdir>/data
    data.num_shapes = 20_000
    data.num_val = 1_000
    data.num_heldout = 1_000  # of (host, motif) pairs that training does not show
    data.num_heldout_styles = 500  # likewise of styles
    data.num_heldout_phrasing = 500  # likewise of caption templates
    data.resolution = model.get_ref("voxel_size")
    data.coarsest = 32  # nothing is thinner than 2.5 voxels of this grid
    data.hosts = ()  # names; empty: the whole library
    data.motifs = ()
    data.styles = ()
    data.free = False  # any motif on any host in any style, whatever the table says
    data.heldout_styles = ()  # names; empty: an eighth of the styles, drawn by the seed
    data.batch_size = 32
    # Tokens; longer prompts are cut, and that is said. Trained from scratch a token is a byte, and
    # the library's longest texts have 199; one sentence may serve as both.
    data.text_length = 200
    data.style_length = 200
    data.rotation_range = 30.0  # degrees about z, either way
    data.scale_range = (0.9, 1.1)
    data.jitter_strength = 0.1  # of the points, in 32^3 voxels
    data.text_only = 0.6  # share of samples by modality; the rest is points only
    data.text_and_points = 0.2
    data.ornament_in_caption = 0.5
    data.style_dropout = 0.1
    data.other_form = 0.1  # of captions of the object alone, share with wrong words for its form
    data.unfamiliar = 0.05  # of samples with a style: its name, often a colour's too, is made up
    data.full_caption = 0.5  # of captions that name both, share of full ones; the rest of any kind
    data.one_sentence = 0.3  # a caption that names both goes to both encoders
    data.num_workers = 0

    optim = config.optim = ConfigDict()
    optim.learning_rate = 1e-4
    optim.weight_decay = 1e-5
    optim.clip_norm = 1.0
    optim.warmup_steps = 200
    optim.text_encoder_scale = 0.1  # of the learning rate: T5's attention has no 1/sqrt(d)
    optim.cooldown = 0.0  # share of all epochs, at the end, in which the rate falls to zero
    optim.plateau_factor = 0.5
    optim.plateau_patience = 5

    train = config.train = ConfigDict()
    train.seed = 0
    train.stage_epochs = (30, 20, 50)
    # Before them, on style texts and charts alone: an epoch costs a fraction of one with grids.
    train.ornament_epochs = 0
    train.fade_fraction = 0.1
    train.early_stopping_patience = 10
    train.eval_every = 1
    train.chart_teaching = 0.5  # share of samples whose ornament is drawn on the true chart
    train.deterministic = False  # same bits on a GPU, at a cost; the CPU always gives them
    loss = train.loss = ConfigDict()
    loss.dice = 0.5
    loss.band = 20.0  # weight of ornament voxels at first, annealed over the last stage
    loss.band_final = 5.0
    loss.host = 1.0
    loss.chart = 1.0
    loss.relief = 1.0
    loss.color = 0.5
    loss.head_decay = 0.5
    # On the surface of the predicted field, in voxels; 0 leaves a term out. In 40 further steps of
    # the quickstart none was shown to repay its time: benchmarks/README.md.
    surface = loss.surface = ConfigDict()
    surface.chamfer = 0.0
    surface.normals = 0.0
    surface.edge = 0.0
    surface.laplacian = 0.0
    surface.consistency = 0.0  # of the normals of neighbouring faces
    surface.points = 8192  # drawn on each surface, also in validation
    surface.min_iou = 0.5  # of a sample, before which it has no surface
    surface.smoothing = 3  # passes of blur of the field's gradient

    config.mesh = ConfigDict()
    config.mesh.data = -1  # -1: all devices that fsdp leaves
    config.mesh.fsdp = 1
    config.mesh.min_sharded_size = 2**16  # elements; fsdp replicates what is smaller

    config.checkpoint = ConfigDict()
    config.checkpoint.save_every = 5  # epochs

    config.log = ConfigDict()
    config.log.every = 10  # steps
    # Converted PointNet++ weights: validation then logs P-FID, not its substitute fd_d2_4096.
    config.log.pointnet_weights = ""
    config.log.prompts = (
        "İznik üslubunda lale motifli vazo",
        "Selçuklu üslubunda sekiz köşeli yıldız motifli kümbet",
    )
    return config
