"""The persona with which the tutor speaks."""

from __future__ import annotations

import pytest

from responsa_server.agents.nodes.teacher import (
    ChooseTeacher,
    TeacherInput,
    TeacherOptions,
    TeacherOutput,
)
from responsa_server.domain.errors import InvalidRequest, Reason
from tests.unit.agents.shipping import ASHDOWN, Staff
from tests.unit.agents.speaking import Turn


async def chosen(choice: object, options: TeacherOptions | None = None) -> TeacherOutput:
    node = ChooseTeacher(Staff(), "teacher", options or TeacherOptions())
    name = (options or TeacherOptions()).parameter
    asked = TeacherInput.model_validate({"parameters": {name: choice} if choice is not None else {}})
    return await node.process(asked, Turn().run)


@pytest.mark.parametrize("form", ["{}", "teachers/{}"])
async def test_the_teacher_speaks_with_what_administrators_have_said(form: str) -> None:
    found = await chosen(form.format(ASHDOWN))
    # The persona has only the parameters whose values are strings or numbers. Lists are for programs.
    assert found == TeacherOutput(teacher="Ms Ashdown", persona="You teach biology.\nsubject: biology")
    assert await chosen(str(ASHDOWN).upper()) == found
    assert await chosen(str(ASHDOWN), TeacherOptions(parameter="as")) == found


@pytest.mark.parametrize("choice", [None, ""])
async def test_without_a_choice_nobody_speaks(choice: object) -> None:
    assert await chosen(choice) == TeacherOutput(teacher="", persona="")


@pytest.mark.parametrize(
    "choice", ["ashdown", "teachers/", f"users/{ASHDOWN}", f"{ASHDOWN}\n", 7, True, ["x"]]
)
async def test_what_is_no_id_is_refused(choice: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await chosen(choice)
    assert caught.value.reason is Reason.TEACHER_ID_MALFORMED
    assert [violation.field for violation in caught.value.violations] == ["options.parameters.teacher_id"]
