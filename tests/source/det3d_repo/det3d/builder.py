def build_dbsampler(cfg):
    with open(cfg.db_info_path, "rb") as infos:
        return infos.read()
