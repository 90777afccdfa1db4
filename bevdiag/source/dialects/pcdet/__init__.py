"""OpenPCDet and the repositories that grew out of it."""
