from itertools import chain

from rich.cells import cell_len
from rich.text import Text

from bevdiag.report.text.table import Column, cell, lay_out, natural_width

_NAME = "backbone_3d.dsvt.stage_0.0.encoder_list.0"


def _plain(columns: list[Column], rows: list[list[Text]], width: int) -> list[str]:
    table = lay_out(columns, rows, width)
    return [line.plain for line in (table.header, *chain(*table.rows))]


def test_numbers_align_right_and_text_left() -> None:
    columns = [Column("layer"), Column("size", right=True)]
    rows = [[cell("vfe"), cell("1")], [cell("dense_head"), cell("10,000")]]
    assert _plain(columns, rows, 40) == [
        "layer         size",
        "vfe              1",
        "dense_head  10,000",
    ]


def test_spare_columns_go_first_the_sparest_foremost() -> None:
    columns = [Column("a"), Column("b", spare=1), Column("c", spare=2)]
    rows = [[cell("aaaaa"), cell("bbbbb"), cell("ccccc")]]
    assert _plain(columns, rows, 19) == ["a      b      c", "aaaaa  bbbbb  ccccc"]
    assert _plain(columns, rows, 18) == ["a      b", "aaaaa  bbbbb"]
    assert _plain(columns, rows, 8) == ["a", "aaaaa"]


def test_a_name_folds_and_is_never_cut() -> None:
    columns = [Column("module", folds=True), Column("size", right=True)]
    lines = _plain(columns, [[cell(_NAME), cell("8.46 GiB")]], 40)
    assert max(cell_len(line) for line in lines) <= 40
    assert "".join(line[:30].strip() for line in lines[1:]) == _NAME
    assert lines[1].endswith("8.46 GiB")


def test_wide_characters_keep_the_columns_aligned() -> None:
    rows = [[cell("\u5377\u79ef"), cell("1")], [cell("conv"), cell("2")]]
    lines = _plain([Column("name"), Column("n")], rows, 40)
    assert lines[1:] == ["\u5377\u79ef  1", "conv  2"]


def test_markup_and_control_characters_are_only_text() -> None:
    rows = [[cell("[red]a[/]\x1b[0m")]]
    assert _plain([Column("name")], rows, 40)[1] == "[red]a[/][0m"


def test_natural_width_counts_headers_and_gaps() -> None:
    assert natural_width([Column("four"), Column("x")], [[cell("a"), cell("bcd")]]) == 9


def test_a_table_without_rows_is_its_header() -> None:
    assert _plain([Column("a"), Column("b")], [], 40) == ["a  b"]
