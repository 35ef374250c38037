"""MDHR for either data set, from the reference's specification (sections 2 to 7)."""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional

WIDTH = 32  # 512 in the reference


@dataclasses.dataclass(frozen=True)
class Region:
    name: str
    sevenths: tuple  # First and last of the map's rows, where it has seven.
    aus: tuple

    def slice(self, tokens):
        height = math.isqrt(tokens.shape[1])
        first, last = self.sevenths
        rows = slice(first * height // 7, math.ceil((last + 1) * height / 7))
        return tokens.unflatten(1, (height, height))[:, rows].flatten(1, 2)


class LinearBlock(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.fc = nn.Linear(channels, width)
        self.bn = nn.BatchNorm1d(width)
        nn.init.normal_(self.fc.weight, std=math.sqrt(2 / width))

    def forward(self, tokens):
        return torch.relu(self.bn(self.fc(tokens).transpose(1, 2))).transpose(1, 2)


class Pooling(nn.Module):
    """Mean over 2k differences, with k zeros put before and behind the clip."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, differences):
        padded = functional.pad(differences, (0, 0, 0, 0, self.k, self.k))
        return functional.avg_pool3d(padded, (2 * self.k, 1, 1), stride=1)


class MFD(nn.Module):
    def __init__(self, width, k):
        super().__init__()
        self.conv1 = nn.Conv2d(width, 8 * width, 8, stride=8)
        self.conv2 = nn.Conv2d(2 * width, 8 * width, 4, stride=4)
        self.conv3 = nn.Conv2d(4 * width, 8 * width, 2, stride=2)
        self.conv4 = nn.Conv2d(8 * width, 8 * width, 1)
        for i in range(1, 5):
            setattr(self, f"bn{i}", nn.BatchNorm2d(8 * width))
            setattr(self, f"weight_{i}", nn.Conv2d(8 * width, 16, 1))
            setattr(self, f"wbn{i}", nn.BatchNorm2d(16))
        self.pooling = Pooling(k)
        self.weight = nn.Conv2d(64, 4, 1)
        self.convcat = nn.Conv2d(8 * width, WIDTH, 1)
        self.bn = nn.BatchNorm1d(WIDTH)

    def forward(self, scales, num_frames):
        maps, squeezed = [], []
        for i, scale in enumerate(scales, 1):
            conv, bn, squeeze, squeeze_bn = (
                getattr(self, f"{n}{i}") for n in ("conv", "bn", "weight_", "wbn")
            )
            clips = scale.unflatten(0, (-1, num_frames))
            differences = torch.relu(bn(conv((clips[:, 1:] - clips[:, :-1]).flatten(0, 1))))
            pooled = self.pooling(differences.unflatten(0, (-1, num_frames - 1)).transpose(1, 2))
            maps.append(pooled.transpose(1, 2).flatten(0, 1))
            squeezed.append(torch.relu(squeeze_bn(squeeze(maps[-1]))))
        weights = torch.softmax(self.weight(torch.cat(squeezed, 1)), 1)
        fused = sum(weights[:, i, None] * x for i, x in enumerate(maps))
        return torch.relu(self.bn(self.convcat(fused).flatten(2))).transpose(1, 2)


class LRM(nn.Module):
    def __init__(self, aus, regions, region_blocks):
        super().__init__()
        self.aus, self.regions, self.region_blocks = aus, regions, region_blocks
        self.class_linears = nn.ModuleList(LinearBlock(WIDTH, WIDTH) for _ in aus)
        for region in regions:
            if region_blocks:
                setattr(self, f"{region.name}_linear", LinearBlock(WIDTH, WIDTH))
            setattr(self, f"{region.name}_fc", nn.Linear(WIDTH, 2 ** len(region.aus)))

    def forward(self, tokens):
        logits, vectors = [], [None] * len(self.aus)
        for region in self.regions:
            slice_of = region.slice(tokens)
            if self.region_blocks:
                slice_of = getattr(self, f"{region.name}_linear")(slice_of)
            logits.append(getattr(self, f"{region.name}_fc")(slice_of.mean(1)))
            for au in region.aus:
                n = self.aus.index(au)
                vectors[n] = self.class_linears[n](slice_of).mean(1)
        return *logits, torch.stack(vectors, 1)


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)
        self.scoring_fn_source = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.scoring_fn_target = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        for tensor in (self.linear.weight, self.scoring_fn_source, self.scoring_fn_target):
            nn.init.xavier_uniform_(tensor)

    def forward(self, vectors, connected):
        h = self.linear(vectors)
        receiver = (h * self.scoring_fn_source).sum(-1)
        sender = (h * self.scoring_fn_target).sum(-1)
        scores = functional.leaky_relu(receiver[:, :, None] + sender[:, None], 0.2)
        attention = torch.softmax(scores.masked_fill(~connected, -math.inf), -1)
        return functional.elu(attention @ h + vectors + self.bias)


class CRM(nn.Module):
    def __init__(self, aus, regions):
        super().__init__()
        self.gat = GAT()
        group = torch.tensor([next(i for i, r in enumerate(regions) if au in r.aus) for au in aus])
        self.others = group[:, None] != group[None]

    def forward(self, vectors, active):
        """Active is (frames, 1, N)."""
        connected = self.others.cuda() & (active > 0)
        return self.gat(vectors, connected | torch.eye(connected.shape[1], dtype=torch.bool).cuda())


class TCN(nn.Module):
    def __init__(self, num_aus):
        super().__init__()
        self.temporal_cnn = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH) for _ in range(num_aus)
        )
        self.bn = nn.BatchNorm1d(num_aus)

    def forward(self, vectors, num_frames):
        clips = vectors.unflatten(0, (-1, num_frames))
        filtered = [conv(clips[:, :, n].transpose(1, 2)) for n, conv in enumerate(self.temporal_cnn)]
        return torch.relu(self.bn(torch.stack(filtered, 1).permute(0, 3, 1, 2).flatten(0, 1)))


class Classifier(nn.Module):
    def __init__(self, num_aus):
        super().__init__()
        self.sc = nn.Parameter(torch.empty(num_aus, WIDTH))
        nn.init.xavier_uniform_(self.sc)

    def forward(self, vectors):
        prototypes = functional.normalize(torch.relu(self.sc), dim=-1)
        return (functional.normalize(vectors, dim=-1) * prototypes).sum(-1)


class MDHRBase(nn.Module):
    def __init__(self, aus, regions, *, region_blocks, backbone, k):
        super().__init__()
        self.aus, self.regions = aus, regions
        self.Backbone = backbone
        first = self.Backbone.layer1[-1].conv3.out_channels
        self.global_linear = LinearBlock(8 * first, WIDTH)
        self.MFD = MFD(first, k)
        self.LRM = LRM(aus, regions, region_blocks)
        self.CRM = CRM(aus, regions)
        self.TCN = TCN(len(aus))
        self.node_classifier = Classifier(len(aus))

    def forward(self, clips):
        """Clips (B, T, 3, H, W) to the logits of each region group and scores (B*T, N)."""
        num_frames = clips.shape[1]
        final, scales = self.Backbone(clips.flatten(0, 1))
        features = self.global_linear(final) + self.MFD(scales, num_frames)
        *logits, vectors = self.LRM(features)
        vectors = self.CRM(vectors, self.active(logits)[:, None])
        return *logits, self.node_classifier(self.TCN(vectors, num_frames))

    def active(self, logits):
        """AUs that the region classifiers predict, (frames, N)."""
        found = torch.zeros(len(logits[0]), len(self.aus), dtype=logits[0].dtype, device=logits[0].device)
        for region, x in zip(self.regions, logits, strict=True):
            code = x.argmax(-1)
            for au in reversed(region.aus):
                found[:, self.aus.index(au)] = (code % 2).to(x.dtype)
                code = code // 2
        return found
