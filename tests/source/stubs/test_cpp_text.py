from bevdiag.source.stubs.cpp_text import definitions, split, statements, without_comments

SOURCE = """
// int hidden(int n) { return 1; }
at::Tensor make(const at::Tensor &x, std::vector<int> sizes, int n = 3);
std::tuple<at::Tensor, at::Tensor> make(
    const at::Tensor &x, /* by axis */ std::vector<int> sizes, int n
) {
    const char* text = "a; } {";
    return work(x, {1, 2});
}
#define OTHER(x) \\
    int other(int x) { return x; }
"""


def test_functions_with_a_body_come_first_and_comments_hold_none() -> None:
    texts = {"a.cpp": without_comments(SOURCE)}
    defined, declared = definitions("make", texts)
    assert defined.body is not None
    assert "work(x, {1, 2});" in defined.body
    assert declared.body is None
    assert (declared.place, defined.place) == ("a.cpp:3", "a.cpp:4")
    assert [one.name for one in defined.parameters] == ["x", "sizes", "n"]
    assert [one.default for one in declared.parameters] == ["", "", "3"]
    assert definitions("hidden", texts) == definitions("other", texts) == []


def test_statements_are_parted_at_their_own_semicolons() -> None:
    text = """
    int n = 1; { a(); }
    for (int i = 0; i < n; ++i) if (i) b(i); else { c(); }
    if (n) { return f([&] { x; }); } else if (m) d(); else e();
    while (n) n--;
    g();
    """
    found = list(statements(text))
    assert [one.keyword for one in found] == ["", "{", "for", "if", "while", ""]
    assert found[2].text == "int i = 0; i < n; ++i"
    (inner,) = statements(found[2].body)
    assert (inner.keyword, inner.body.strip(), inner.other.strip()) == ("if", "b(i);", "c();")
    assert found[3].body.strip() == "return f([&] { x; });"
    (second,) = statements(found[3].other)
    assert (second.text, second.body, second.other) == ("m", "d();", "e();")


def test_a_text_is_split_outside_of_brackets_and_strings() -> None:
    assert split('a, f(b, c), {d, e}, ", "') == ["a", "f(b, c)", "{d, e}", '", "']
