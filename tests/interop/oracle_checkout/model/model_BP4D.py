from .mdhr import MDHRBase, Region
from .resnet import resnet50

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
REGIONS = (
    Region("up", (0, 2), (1, 2, 4, 7)),
    Region("mid", (2, 4), (6,)),
    Region("down1", (4, 6), (12, 14, 15)),
    Region("down2", (4, 6), (10, 17, 23, 24)),
)


class MDHR(MDHRBase):
    def __init__(self, dataset="BP4D", num_classes=12, backbone="resnet", k=5):
        assert (dataset, num_classes, backbone) == ("BP4D", len(AUS), "resnet")
        super().__init__(AUS, REGIONS, region_blocks=True, backbone=resnet50(pretrained=True), k=k)
