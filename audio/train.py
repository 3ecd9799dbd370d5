"""Train the audio flow: python -m audio.train --config configs/audio/world.yaml."""

from audio.data import AudioData
from audio.module import AudioModule
from core.train_cli import train

if __name__ == "__main__":
    train(AudioModule, AudioData)
