"""Train the video flow: python -m video.train --config configs/video/world.yaml."""

from core.train_cli import train
from video.data import VideoData
from video.module import VideoModule

if __name__ == "__main__":
    train(VideoModule, VideoData)
