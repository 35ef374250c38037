"""From distributed recordings to TFRecord clips."""
