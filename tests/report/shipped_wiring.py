"""The wiring of the shipped model, as a traced step shows it."""

from dataclasses import replace

from bevdiag.trace.wiring import BatchEntry, DeadBranch, Wiring


def shipped_wiring() -> Wiring:
    encoder, dsvt, mapper = "backbone_3d.focal_encoder", "backbone_3d.dsvt", "map_to_bev"
    voxels = BatchEntry(
        key="voxels",
        written_by=None,
        computed_by="",
        shape=(37_808, 128, 4),
        channels=4,
        declared=None,
        carries_gradient=False,
        read_by=("vfe",),
        is_read=True,
        replaced_by=None,
    )
    volume = BatchEntry(
        key="encoded_spconv_tensor",
        written_by=encoder,
        computed_by=f"{encoder}.conv_focal",
        shape=(464_367, 128),
        channels=128,
        declared=128,
        carries_gradient=True,
        read_by=("backbone_3d", mapper),
        is_read=True,
        replaced_by=None,
    )
    unread = replace(
        volume, key="voxel_features", written_by=dsvt, computed_by=dsvt, read_by=(), is_read=False
    )
    bev_map = replace(
        volume,
        key="spatial_features",
        written_by=mapper,
        computed_by=mapper,
        shape=(1, 22400, 200, 500),
        channels=22400,
        declared=256,
        read_by=("backbone_2d",),
    )
    return Wiring(
        entries=(voxels, volume, unread, bev_map),
        bev_map=bev_map,
        bev_sources=(volume,),
        dead_branches=(
            DeadBranch(
                path=dsvt,
                params=1_201_152,
                leads_to=("voxel_features",),
                reason=f"nothing reads voxel_features after it; {mapper} makes the BEV map of "
                f"encoded_spconv_tensor of {encoder}",
            ),
        ),
    )
