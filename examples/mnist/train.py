"""Trains the network from nothing and writes weights.safetensors; a recipe does not need it."""

from pathlib import Path

import torch
from data import evaluation, train
from model import Network
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, pad

EPOCHS = 12


def main() -> None:
    """Train with pictures moved by up to two places, Adam, one cycle of the learning rate."""
    torch.manual_seed(0)
    pictures, labels = map(torch.from_numpy, train())
    net = Network()
    optimizer = torch.optim.Adam(net.parameters())
    turns = -(-len(labels) // 64)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * turns)
    for epoch in range(EPOCHS):
        for places in torch.randperm(len(labels)).split(64):
            down, right = torch.randint(0, 5, (2,)).tolist()
            moved = pad(pictures[places], (2, 2, 2, 2))[:, :, down : down + 28, right : right + 28]
            optimizer.zero_grad()
            cross_entropy(net(moved), labels[places]).backward()
            optimizer.step()
            cycle.step()
        print(f"epoch {epoch + 1} of {EPOCHS}")
    net.eval()
    pictures, labels = map(torch.from_numpy, evaluation())
    with torch.no_grad():
        right = (net(pictures).argmax(1) == labels).float().mean()
    print(f"{right:.2%} right")
    save_file(net.state_dict(), Path(__file__).parent / "weights.safetensors")


if __name__ == "__main__":
    main()
