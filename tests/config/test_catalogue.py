from bevdiag.config.catalogue import DETECTOR, PUBLISHED, built_names


def test_what_is_built_is_what_the_settings_say():
    assert built_names(DETECTOR) == ("CenterPoint", "PointPillar", "SECONDNet")
    assert built_names("VFE") == ("SDAVFE",)
    assert built_names("MAP_TO_BEV") == ("HeightCompression", "SparseHeightCompression")
    assert built_names("ROI_HEAD") == ()


def test_a_name_that_only_bevdiag_knows_is_not_called_published():
    # The report attributes SparseHeightCompression to OpenPCDet, which has no such module.
    assert "SparseHeightCompression" not in PUBLISHED["MAP_TO_BEV"]
