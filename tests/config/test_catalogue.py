from bevdiag.config.catalogue import DETECTOR, PUBLISHED, built_names


def test_what_is_built_is_what_the_settings_say():
    assert built_names(DETECTOR) == ("CenterPoint", "PointPillar", "SECONDNet")
    assert set(built_names("BACKBONE_2D")) == {"BaseBEVBackbone", "BaseBEVResBackbone"}
    assert {"MeanVFE", "SDAVFE", "DynMeanVFE"} < set(built_names("VFE"))
    assert {"VoxelBackBone8x", "DSVT", "FocalDSVT"} < set(built_names("BACKBONE_3D"))
    assert built_names("ROI_HEAD") == ()


def test_a_name_that_only_bevdiag_knows_is_not_called_published():
    # The report attributes SparseHeightCompression to OpenPCDet, which has no such module.
    assert "SparseHeightCompression" not in PUBLISHED["MAP_TO_BEV"]
