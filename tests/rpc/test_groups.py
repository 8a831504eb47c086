"""Groups over gRPC: who is invited joins them."""

from __future__ import annotations

from uuid import UUID

from tests.people import GOOD
from tests.rpc.served import Served, failed


async def test_who_registers_with_an_invitation_joins_its_groups_that_are_left(served: Served) -> None:
    sales, gone = [
        (await served.ann.CreateGroup(group={"display_name": name})).name for name in ("Sales", "Gone")
    ]
    refused = await failed(served.ann.CreateInvitation(groups=[f"groups/{UUID(int=1)}"]))
    assert refused.reason == "RESOURCE_NOT_FOUND"
    codes = {
        email: (await served.ann.CreateInvitation(email=email, groups=groups)).code
        for email, groups in (
            ("dan@example.org", [sales, gone]),
            ("eve@example.org", []),
            ("fay@example.org", [sales]),
        )
    }
    listed = {one.email: one for one in (await served.ann.ListInvitations()).invitations}
    assert sorted(listed["dan@example.org"].groups) == sorted([sales, gone])
    # Whoever is invited is a member to be.
    await served.ann.AddGroupMembers(name=sales, invitations=[listed["eve@example.org"].name])
    await served.ann.RemoveGroupMembers(name=sales, invitations=[listed["fay@example.org"].name])
    await served.ann.DeleteGroup(name=gone)
    for email, code in codes.items():
        await served.nobody.Register(invitation=code, email=email, password=GOOD)
    members = (await served.ann.ListGroupMembers(parent=sales)).group_members
    assert [one.email for one in members] == ["dan@example.org", "eve@example.org"]
    events = (await served.ann.ListAuditEvents(filter='action = "group.add_members"')).audit_events
    assert len([one for one in events if one.resource == sales]) == 2
