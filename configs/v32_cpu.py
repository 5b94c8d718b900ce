"""The quickstart's model on the whole library, on two CPU cores: about an hour."""

from configs import quickstart


def get_config():
    config = quickstart.get_config()
    config.model.ornament_dim = 96
    config.model.decoder.ornament_width = 128

    data = config.data
    data.hosts = data.motifs = data.styles = ()  # the whole library
    data.free = False
    data.heldout_styles = ()  # an eighth of the styles
    data.num_shapes = 3000
    data.num_val = 160
    data.num_heldout = 160
    data.num_heldout_styles = 80
    data.num_heldout_phrasing = 80

    config.optim.learning_rate = 1e-3  # at 2e-3 the relief's loss falls no further than 0.11
    config.optim.cooldown = 0.75  # of all epochs: from the last of the ornament on
    config.train.ornament_epochs = 4
    config.train.stage_epochs = (7, 2)
    config.checkpoint.save_every = 1
    return config
