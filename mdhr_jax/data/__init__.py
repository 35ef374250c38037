"""From aligned frames to batches of clips: writing, reading, sampling, augmentation."""
