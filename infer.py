"""Write masks for photos and videos with a trained network.

python infer.py input=street.jpg
python infer.py checkpoint=experiments/<run> input=dog.jpg output=dog_mask.png
"""

from __future__ import annotations

if __name__ == "__main__":  # first, so that Ctrl-C ends the program: an import may swallow it
    from utils.interruption import end_at_once

    end_at_once()

from omegaconf import DictConfig

from cli.launch import launch


def infer(cfg: DictConfig) -> None:
    """Segment the photos or the video of `input`."""
    from runs.segmenting import is_video, segment_photos, segment_video

    if is_video(cfg.input):
        segment_video(cfg)
    else:
        segment_photos(cfg)


if __name__ == "__main__":
    launch(infer, "infer")
