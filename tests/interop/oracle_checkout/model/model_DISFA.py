from .mdhr import MDHRBase, Region
from .resnet import resnet50

AUS = (1, 2, 4, 6, 9, 12, 25, 26)
REGIONS = (
    Region("up", (0, 2), (1, 2, 4)),
    Region("mid", (2, 4), (6, 9)),
    Region("down", (4, 6), (12, 25, 26)),
)


class MDHR(MDHRBase):
    def __init__(self, dataset="DISFA", num_classes=8, backbone="resnet", k=5):
        assert (dataset, num_classes, backbone) == ("DISFA", len(AUS), "resnet")
        super().__init__(AUS, REGIONS, region_blocks=False, backbone=resnet50(pretrained=True), k=k)
