"""The state of forms that a reader sees: ticks, values and choices."""

from __future__ import annotations

import pytest

from responsa_formats.text.symbols import TICKED
from tests.formats.office_files import odt, parse
from tests.formats.test_docx import form, run, table, tc
from tests.formats.test_docx import text_of as text_of_docx


@pytest.mark.parametrize(
    ("html", "text"),
    [
        # GitHub's task lists
        (
            '<ul class="contains-task-list"><li class="task-list-item"><input type="checkbox" '
            'class="task-list-item-checkbox" disabled checked> Backup</li>'
            '<li class="task-list-item"><input type="checkbox" disabled=""> Restore</li></ul>',
            "- ☑ Backup\n- ☐ Restore",
        ),
        # Confluence's
        (
            '<ul class="inline-task-list"><li class="checked" data-inline-task-id="1"><span>Backup</span></li><li>Restore</li></ul>',
            "- ☑ Backup\n- ☐ Restore",
        ),
        # Notion's
        (
            '<ul class="to-do-list"><li><div class="checkbox checkbox-on"></div> <span '
            'class="to-do-children-checked">Backup</span></li></ul>'
            '<ul class="to-do-list"><li><div class="checkbox checkbox-off"></div> <span>Restore</span></li></ul>',
            "- ☑ Backup\n- ☐ Restore",
        ),
        # Google Docs'
        (
            (
                '<ul><li role="checkbox" aria-checked="false" style="list-style-type:none"><img '
                'src="data:," alt="unchecked" aria-roledescription="checkbox"><p '
                'role="presentation">Backup</p></li></ul>'
            ),
            "- ☐ Backup",
        ),
        # TipTap's, and a list with an empty item
        (
            '<ul data-type="taskList"><li data-checked="true"><label><input type="checkbox" '
            "checked><span></span></label><div><p>Backup</p></div></li>"
            "<li><input type=checkbox></li><li><input type=checkbox><ul><li>Inner</ul></ul>",
            "- ☑ Backup\n- ☐\n- ☐\n  - Inner",
        ),
        # Word's and Outlook's
        (
            "<p><span style='font-family:Wingdings'>þ<span style='font:7.0pt \"Times New "
            "Roman\"'>&nbsp;þ </span></span>Sea <font face=Wingdings>¨</font> Air"
            " <span style=\"font-family:'Wingdings 2'\">£</span> Rail <span style='font-family:Symbol'>a</span></p>",
            "☑\u00a0þ Sea ☐ Air ☐ Rail a",
        ),
        # CKEditor's, where the box that is drawn has an input
        (
            '<ul class="todo-list"><li><label><input type="checkbox" disabled checked><span>Backup</span></label></li></ul>',
            "- ☑ Backup",
        ),
        ("<span role=switch aria-checked=true><input type=checkbox checked></span> Light", "☑ Light"),
        (
            "<div role=radio aria-checked=true>Sea</div><div role=radio aria-checked=mixed>Air</div>",
            "☑ Sea\n\n☐ Air",
        ),
        (
            "<label>Sea<input type=radio name=by checked></label> <label>Air <INPUT TYPE=RADIO NAME=by></label>",
            "Sea ☑ Air ☐",
        ),
        (
            "<p>Voltage: <input value='230'> V, on <input type=date value=2026-03-01></p>",
            "Voltage: 230 V, on 2026-03-01",
        ),
        (
            (
                "<p>a<input type=hidden value=h><input type=password value=p><input type=submit "
                "value=s><input hidden value=i><input style='display:none' value=j><input "
                "placeholder=k>b</p>"
            ),
            "ab",
        ),
        ("<div hidden><input type=checkbox checked></div>x", "x"),
        ("Note: <textarea>\nTwo\nlines &lt;b&gt;</textarea>", "Note: Two\nlines <b>"),
        (
            "<table><tr><td>Brakes<td><input type=checkbox><tr><td>Note<td><textarea>a\nb</textarea></table>",
            "Brakes: ☐\nNote: a b",
        ),
        ("By <select><option>sea<option selected>air</select>.", "By air ."),
        (
            "By <select><optgroup label=All><option disabled>none<option>sea<option>air</optgroup></select>",
            "By sea",
        ),
        ("By <select><option value=''>Please choose<option>air</select>", "By"),
        (
            "By <select multiple><option selected>sea<option>air<option selected label=rail>r</select>",
            "By sea, rail",
        ),
        ("By <select multiple><option>sea</select>", "By"),
    ],
)
def test_a_form_in_html_says_its_state(html: str, text: str) -> None:
    assert parse(html.encode(), "a.html").canonical_text.strip() == text


def test_old_fields_of_word_say_their_state() -> None:
    boxes = (
        form("<w:checkBox><w:checked/></w:checkBox>")
        + run(" sea ")
        + form('<w:checkBox><w:default w:val="1"/><w:checked w:val="0"/></w:checkBox>')
        + run(" air")
    )
    assert text_of_docx(f"<w:p>{boxes}</w:p>") == "☑ sea ☐ air"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("Name|<input value=Ann>;Boat|<input value=Gull>", "Name: Ann\nBoat: Gull"),
        ("Form of the club;Name|<input value=Ann>;Boat|<input>", "Form of the club\nName: Ann\nBoat"),
        (
            "Name|<input value=Ann>|Boat|<input value=Gull>;Age|<input value=8>|Berth|<input value=B>",
            "Name | Ann | Boat | Gull\nAge | 8 | Berth | B",
        ),
        ("<input type=checkbox>|Rafts;<input type=checkbox checked>|Pumps", "☐ | Rafts\n☑ | Pumps"),
        ("Rafts were counted|☑;Pumps were checked|☐;Oars|☒", "Rafts were counted | ☑\nPumps were checked | ☐\nOars | ☒"),
        ("Item|Checked;Rafts|☑;Pumps|☐", "Item | Checked\n---|---\nRafts | ☑\nPumps | ☐"),
        ("Item|Checked;Rafts|<input type=checkbox>;Pumps|<input type=checkbox>", "Item | Checked\n---|---\nRafts | ☐\nPumps | ☐"),
        (
            "Lamp|Use;Wren<input type=hidden value=1>|ship;Owl|house<input type=submit value=Delete>",
            "Lamp | Use\n---|---\nWren | ship\nOwl | house",
        ),
    ],
)  # fmt: skip
def test_a_row_with_a_field_or_a_box_names_no_columns(rows: str, text: str) -> None:
    html = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row.split('|'))}" for row in rows.split(";"))
    assert parse(f"<table>{html}</table>".encode(), "a.html").canonical_text.strip() == text


def test_fields_in_tables_of_office_files_are_named_by_the_cell_before_them() -> None:
    control = (
        f"<w:p><w:sdt><w:sdtPr><w:text/></w:sdtPr><w:sdtContent>{run('Ann')}</w:sdtContent></w:sdt></w:p>"
    )
    old = "<w:p>" + form('<w:ddList><w:listEntry w:val="Gull"/></w:ddList>') + "</w:p>"
    word = table(tc("Name") + tc(control), tc("Boat") + tc(old))
    cells = (
        ("Name", "<text:text-input>Ann</text:text-input>"),
        ("Boat", "<text:drop-down>Gull</text:drop-down>"),
    )
    rows = "".join(
        f"<table:table-row>{''.join(f'<table:table-cell><text:p>{one}</text:p></table:table-cell>' for one in row)}</table:table-row>"
        for row in cells
    )
    for text in (
        text_of_docx(word),
        parse(odt(f"<table:table>{rows}</table:table>"), "a.odt").canonical_text,
    ):
        assert text == "Name: Ann\nBoat: Gull"


FORMS = """<office:forms><form:form>
<form:checkbox form:id="c1" form:label="Sea" form:current-state="checked"/><form:checkbox xml:id="c2" form:label="Air"/>
<form:radio form:id="c3" form:label="Fast" form:current-selected="true"/><form:radio form:id="c4" form:label="Slow"/>
<form:text form:id="c5" form:current-value="Hull 7" form:value="Hull 1"/>
<form:listbox form:id="c6"><form:option form:label="red"/><form:option form:label="green" form:current-selected="true"/></form:listbox>
<form:password form:id="c7" form:current-value="secret"/><form:hidden form:id="c8" form:value="secret"/>
</form:form></office:forms>"""
FIELD = '<field:fieldmark field:type="vnd.oasis.opendocument.field.{}">{}</field:fieldmark>'
PARAM = '<field:param field:name="{}" field:value="{}"/>'


@pytest.mark.parametrize(
    ("paragraph", "text"),
    [
        ("".join(f'<draw:control draw:control="c{n}"/> ' for n in (1, 2, 3, 4)), "☑ Sea ☐ Air ☑ Fast ☐ Slow"),
        ("".join(f'<draw:control draw:control="c{n}"/> ' for n in (5, 6, 7, 8, 9)), "Hull 7 green"),
        (
            FIELD.format("FORMCHECKBOX", PARAM.format("Checkbox_Checked", "true"))
            + "Sea"
            + FIELD.format("FORMCHECKBOX", "")
            + "Air",
            "☑Sea☐Air",
        ),
        (
            FIELD.format(
                "FORMDROPDOWN",
                PARAM.format("Dropdown_ListEntry", "rye")
                + PARAM.format("Dropdown_ListEntry", "oats")
                + PARAM.format("Dropdown_Selected", "1"),
            ),
            "oats",
        ),
        (
            "<loext:content-control loext:checkbox='true' loext:checked='true'>☒</loext:content-control> Sea"
            "<loext:content-control loext:showing-place-holder='true'>Choose an item</loext:content-control>",
            "☒ Sea",
        ),
        (
            (
                "By <text:drop-down text:name='x'><text:label text:value='sea'/><text:label "
                "text:value='air' text:current-selected='true'/>air</text:drop-down>"
            ),
            "By air",
        ),
    ],
)
def test_a_form_in_opendocument_says_its_state(paragraph: str, text: str) -> None:
    assert parse(odt(f"{FORMS}<text:p>{paragraph}</text:p>"), "a.odt").canonical_text == text


def test_a_cross_is_not_a_tick() -> None:
    for made in (
        parse("<p>☒ Sea".encode(), "a.html"),
        parse("- ☒ Sea\n".encode(), "a.md"),
        parse(odt("<text:p>☒ Sea</text:p>"), "a.odt"),
    ):
        assert "☒ Sea" in made.canonical_text
        assert TICKED not in made.canonical_text
