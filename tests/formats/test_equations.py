"""Equations of Word, PowerPoint, OpenDocument and HTML files, on one line."""

from __future__ import annotations

import pytest

from tests.formats.office_files import OOXML, changed, docx, odt, parse, pptx, slide

MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
M = f'xmlns:m="{OOXML}officeDocument/2006/math"'


def e(content: str, name: str = "e") -> str:
    """An argument of Office Math. content: XML, or the text of a run."""
    return f"<m:{name}>{content if content.startswith('<') else r(content)}</m:{name}>"


def r(text: str) -> str:
    return f"<m:r><m:rPr/><m:t>{text}</m:t></m:r>"


def f(above: str, below: str, properties: str = "") -> str:
    return f"<m:f><m:fPr>{properties}</m:fPr>{e(above, 'num')}{e(below, 'den')}</m:f>"


def power(base: str, above: str) -> str:
    return f"<m:sSup>{e(base)}{e(above, 'sup')}</m:sSup>"


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        (f("1", "2"), "1/2"),
        (r("2") + f("1", "2") + r("x"), "2 1/2 x"),
        (r("p=") + f("a+b", "c"), "p=(a+b)/c"),
        (f("1", "2x"), "1/(2x)"),
        (f(f("1", "2"), f("way", "time")), "(1/2)/(way/time)"),
        (r("3·") + power("10", "6"), "3·10⁶"),
        (r("1") + r("0") + power("10", "<w:del/>"), "10 10"),
        (power("a+b", "2") + power("e", f("t", "2")) + power("x", "2k"), "(a+b)²e^(t/2)x^(2k)"),
        (f"<m:sSub>{e('x')}{e('max', 'sub')}</m:sSub>", "x_max"),
        (f"<m:sSubSup>{e('x')}{e('1', 'sub')}{e('2', 'sup')}</m:sSubSup>", "x₁²"),
        (f"<m:sPre>{e('6', 'sub')}{e('14', 'sup')}{e('C')}</m:sPre>", "₆¹⁴C"),
        (f"<m:rad><m:radPr/><m:deg/>{e('144')}</m:rad>", "√(144)"),
        (f"<m:rad>{e('3', 'deg')}{e('x')}</m:rad><m:rad>{e('n', 'deg')}{e('x')}</m:rad>", "∛(x)ⁿ√(x)"),
        (f"<m:d><m:dPr/>{e('a+b')}</m:d>{power('x', '2')}", "(a+b)x²"),
        (
            f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val=""/><m:sepChr m:val=","/></m:dPr>{e("a")}{e("b")}</m:d>',
            "[a,b",
        ),
        (
            f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr>{e("i=1", "sub")}{e("n", "sup")}{e("i")}</m:nary>',
            "∑_(i=1)ⁿ i",
        ),
        (f"<m:nary>{e('0', 'sub')}{e('∞', 'sup')}{e('x dx')}</m:nary>", "∫₀^∞ x dx"),
        (
            f"<m:func><m:fName><m:limLow>{e('lim')}{e('x→0', 'lim')}</m:limLow></m:fName>{e('x')}</m:func>",
            "lim_(x→0) x",
        ),
        (f"<m:m><m:mr>{e('1')}{e('2')}</m:mr><m:mr>{e('3')}{e('4')}</m:mr></m:m>", "1, 2; 3, 4"),
        (f"<m:eqArr>{e('x=1')}{e('y=2')}</m:eqArr>", "x=1; y=2"),
        (f"<m:acc>{e('x')}</m:acc><m:bar>{e('y')}</m:bar>", "x\u0302y\u0304"),
        (f("n", "k", '<m:type m:val="noBar"/>'), "n over k"),
    ],
)
def test_office_math(equation: str, text: str) -> None:
    whole = f"<m:oMath>{equation}</m:oMath>"
    assert parse(docx(f"<w:p>{whole}</w:p>"), "a.docx").canonical_text == text
    body = f"<p:sp><p:txBody><a:p><m:oMathPara {M}>{whole}</m:oMathPara></a:p></p:txBody></p:sp>"
    found = parse(pptx({"a": {"slide": slide(body.replace("<w:del/>", ""))}}), "a.pptx")
    assert found.canonical_text == f"Slide 1\n\n{text}"


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"),
        ("<mn>2</mn><mfrac><mn>1</mn><mn>2</mn></mfrac>", "2 1/2"),
        ("<mn>3</mn><mo>·</mo><msup><mn>10</mn><mn>6</mn></msup>", "3·10⁶"),
        ("<mn>5</mn><msup><mn>10</mn><mn>6</mn></msup>", "5 10⁶"),
        (
            "<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mrow><mn>2</mn><mo>&#x2062;</mo><mi>c</mi></mrow></mfrac>",
            "(a+b)/(2c)",
        ),
        ("<msqrt><mn>144</mn></msqrt><mroot><mi>x</mi><mn>3</mn></mroot>", "√(144)∛(x)"),
        (
            "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi>",
            "∑_(i=1)ⁿ i",
        ),
        (
            "<msub><mi>x</mi><mi>max</mi></msub><mo>=</mo><mi>sin</mi><mo>&#x2061;</mo><mi>x</mi>",
            "x_max=sin x",
        ),
        ("<msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup><msup><mi>f</mi><mo>′</mo></msup>", "x₁²f′"),
        ("<munder><mi>lim</mi><mi>x</mi></munder><mi>y</mi>", "lim_x y"),
        (
            "<mmultiscripts><mi>C</mi><mn>2</mn><none/><mprescripts/><mn>6</mn><mn>14</mn></mmultiscripts>",
            "₆¹⁴C₂",
        ),
        ("<mfenced open='['><mi>a</mi><mi>b</mi></mfenced>", "[a,b)"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd/></mtr></mtable>", "1, 2;"),
        ("<mover><mi>x</mi><mo>¯</mo></mover><mspace/><mn>90</mn><mo>∘</mo>", "x\u0304 90°"),
        ("<mi>x</mi><mtext> if </mtext><mi>y</mi><mphantom><mi>z</mi></mphantom>", "x if y"),
        (
            "<semantics><mrow><mi>x</mi></mrow><annotation encoding='application/x-tex'>\\alpha</annotation></semantics>",
            "x",
        ),
        ("<mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac>", "n over k"),
    ],
)
def test_mathml(equation: str, text: str) -> None:
    html = f"<p>It is <math>{equation}</math>.</p>"
    assert parse(html.encode(), "a.html").canonical_text == f"It is {text}."
    frame = (
        '<text:p>It is <draw:frame><draw:object xlink:href="./Object 1" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"/></draw:frame>.</text:p>'
    )
    part = f"<math {MATHML}>{equation}</math>".encode()
    made = changed(odt(frame), {"Object 1/content.xml": part})
    assert parse(made, "a.odt").canonical_text == f"It is {text}."


def test_a_formula_in_its_frame_and_an_object_that_is_none() -> None:
    inside = (
        f"<text:p>It is <draw:frame><draw:object><math {MATHML}><mi>x</mi></math></draw:object></draw:frame>"
    )
    other = '<draw:frame><draw:object xlink:href="" xmlns:xlink="http://www.w3.org/1999/xlink"/></draw:frame>.</text:p>'
    assert parse(odt(inside + other), "a.odt").canonical_text == "It is x."


def test_an_equation_that_is_nested_too_deeply_keeps_its_text() -> None:
    html = f"<p><math>{'<msqrt>' * 2_000}<mi>x</mi></math></p>"
    text = parse(html.encode(), "a.html").canonical_text
    assert text.startswith("√(√(")
    assert text.strip("√()") == "x"


def test_signs_are_short_and_nested_equations_are_read_once() -> None:
    between = f'<m:sepChr m:val="{"|" * 8_000}"/>'
    cell = f"<m:d><m:dPr>{between}</m:dPr>{e('x') * 100}</m:d>"
    assert len(parse(docx(f"<w:p><m:oMath>{cell}</m:oMath></w:p>"), "a.docx").canonical_text) < 2_000
    nested = "<m:oMath>" * 20 + r("x") + "</m:oMath>" * 20
    assert parse(docx(f"<w:p><m:oMathPara>{nested}</m:oMathPara></w:p>"), "a.docx").canonical_text == "x"


def test_lines_of_equations_stay_lines() -> None:
    one = f"<m:oMath>{r('x=1')}</m:oMath>"
    assert (
        parse(docx(f"<w:p><m:oMathPara>{one}{one}</m:oMathPara></w:p>"), "a.docx").canonical_text
        == "x=1\nx=1"
    )
