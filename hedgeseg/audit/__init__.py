"""Explanations of a whole data set: what did the network really learn, where, and how often?

Every image's evidence is measured and kept small (`Auditor`, `EvidenceStore`), evidence of one kind is grouped and what
stands out is named (`find`), and `write_page` makes one page of it. Knows tensors and files; the trainer's side is
`hedgeseg.callbacks.DatasetAudit`.
"""

from hedgeseg.audit.auditor import Auditor, Subject
from hedgeseg.audit.evidence import Evidence
from hedgeseg.audit.findings import Findings, find
from hedgeseg.audit.groups import Cluster
from hedgeseg.audit.page import write_page
from hedgeseg.audit.result import as_json, changes, write_result
from hedgeseg.audit.store import EvidenceStore

__all__ = [
    "Auditor",
    "Cluster",
    "Evidence",
    "EvidenceStore",
    "Findings",
    "Subject",
    "as_json",
    "changes",
    "find",
    "write_page",
    "write_result",
]
