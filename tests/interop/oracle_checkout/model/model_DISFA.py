from .mdhr import MDHRBase, Region
from .resnet import resnet50

AUS = (1, 2, 4, 6, 9, 12, 25, 26)
REGIONS = (
    Region("up", slice(0, 3), (1, 2, 4)),
    Region("mid", slice(2, 5), (6, 9)),
    Region("down", slice(4, 7), (12, 25, 26)),
)


class MDHR(MDHRBase):
    def __init__(self, dataset="DISFA", num_classes=8, backbone="resnet", k=5):
        assert (dataset, num_classes, backbone) == ("DISFA", len(AUS), "resnet")
        super().__init__(AUS, REGIONS, region_blocks=False, backbone=resnet50(pretrained=True), k=k)
