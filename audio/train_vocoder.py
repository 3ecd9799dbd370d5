"""Train the vocoder: python -m audio.train_vocoder --config configs/audio/vocoder_world.yaml."""

from audio.data import AudioData
from audio.vocoder_module import VocoderModule
from core.train_cli import train

if __name__ == "__main__":
    train(VocoderModule, AudioData)
