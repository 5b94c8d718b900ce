"""A model so small that a whole run takes seconds: stages 8 -> 12."""

from configs import quickstart


def get_config():
    config = quickstart.get_config()
    model = config.model
    model.voxel_size = 12
    model.latent_dim = 24
    model.style_dim = 16
    model.ornament_dim = 16
    model.num_queries = 2
    model.num_heads = 2
    model.point_encoder.num_points = 16
    model.point_encoder.width = 16
    model.point_encoder.layers = 1
    decoder = model.decoder
    decoder.trunk_resolutions = (4, 6)
    decoder.trunk_widths = (16, 8)
    decoder.stage_resolutions = (8, 12)
    decoder.attention_resolutions = (4,)
    decoder.ornament_width = 16
    decoder.ornament_layers = 2
    data = config.data
    data.hosts = ("vazo", "cini")
    data.motifs = ("lale", "baklava", "hilal")
    data.num_shapes = 32
    data.num_val = 8
    data.num_heldout = 8
    data.num_heldout_styles = 2
    data.num_heldout_phrasing = 2
    data.text_length = 64
    data.style_length = 64
    config.train.stage_epochs = (2, 2)
    config.optim.warmup_steps = 2
    config.optim.cooldown = 0.25  # half of the last stage
    config.mesh.min_sharded_size = 2**10
    config.checkpoint.save_every = 1
    config.log.every = 1
    config.log.prompts = ()
    return config
