"""Classify handwritten digits with two layers, each rank on its share of every batch.

    python examples/digits_mlp.py                  # needs scikit-learn: pip install 'distgrad[demo]'
    mpirun -n 2 python examples/digits_mlp.py

Output:
    1437 images to train on, 360 to test with
    more than 95 % are right: True
"""

from __future__ import annotations

from sklearn.datasets import load_digits

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.utils.data import DataLoader, DistributedSampler, TensorDataset

dist.init_process_group()
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]
if dist.get_rank() == 0:
    print(f"{len(train)} images to train on, {len(test)} to test with")

data = TensorDataset(images[train], labels[train])
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=64 // dist.get_world_size(), sampler=sampler)
model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
optimizer = optim.Adam(model.parameters(), lr=8e-3)
for epoch in range(8):
    sampler.set_epoch(epoch)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

with torch.no_grad():
    right = (model.module(images[test]).argmax(1) == labels[test]).sum().item()
if dist.get_rank() == 0:
    print("more than 95 % are right:", right > 0.95 * len(test))
dist.destroy_process_group()
