"""What servers of folders list, read as the sandbox reads it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from responsa_etl.sources.listings import LISTING, ListedEntry, ListingProblem, unpack_listing

DAV = """<d:multistatus xmlns:d="DAV:">
<d:response><d:href>/files/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop></d:propstat></d:response>
<d:response><d:href>/files/a.md</d:href>
<d:propstat><d:prop><d:getetag>"1"</d:getetag><d:getcontentlength>7</d:getcontentlength><d:resourcetype/></d:prop></d:propstat>
<d:propstat><d:prop><d:getlastmodified/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
</d:multistatus>"""
BUCKET = """<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><NextContinuationToken>more=</NextContinuationToken>
<IsTruncated>true</IsTruncated>
<Contents><Key>a &amp; b.md</Key><ETag>"2"</ETag><Size>99999999999999999999</Size></Contents></ListBucketResult>"""


def read(text: str) -> Sequence[ListedEntry]:
    written = list[bytes]()
    LISTING.run(text.encode(), written.append)
    return unpack_listing(b"".join(written))


def test_entries_of_both_protocols_are_read() -> None:
    assert read(DAV) == [
        ListedEntry("/files/", is_folder=True),
        ListedEntry("/files/a.md", '"1"', size=7),
    ]
    assert read(BUCKET) == [ListedEntry(token="more="), ListedEntry("a & b.md", '"2"')]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><p></html>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        "<a>" * 20 + "</a>" * 20,
    ],
)
def test_what_is_no_listing_is_a_problem(text: str) -> None:
    with pytest.raises(ListingProblem):
        read(text)
