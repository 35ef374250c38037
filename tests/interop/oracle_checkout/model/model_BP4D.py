from .mdhr import MDHRBase, Region
from .resnet import resnet50

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
REGIONS = (
    Region("up", slice(0, 3), (1, 2, 4, 7)),
    Region("mid", slice(2, 5), (6,)),
    Region("down1", slice(4, 7), (12, 14, 15)),
    Region("down2", slice(4, 7), (10, 17, 23, 24)),
)


class MDHR(MDHRBase):
    def __init__(self, dataset="BP4D", num_classes=12, backbone="resnet", k=5):
        assert (dataset, num_classes, backbone) == ("BP4D", len(AUS), "resnet")
        super().__init__(AUS, REGIONS, region_blocks=True, backbone=resnet50(pretrained=True), k=k)
