"""The categories a finding may carry."""

from enum import StrEnum


class Category(StrEnum):
    """What kind of harm a finding speaks of; exactly one per finding.

    Child abuse material and adult intimate imagery are never merged: they have separate lists, queues, roles
    and duties. Whether a picture is photographed, drawn or generated is a facet, not a category, except for
    `CSAM_SIMULATED`, which the laws of different countries treat differently.
    """

    CSAM_KNOWN = "csam-known"
    CSAM_SUSPECTED = "csam-suspected"
    CSEM_OTHER = "csem-other"
    CSAM_SIMULATED = "csam-simulated"
    NCII_KNOWN = "ncii-known"
    NCII_REPORTED = "ncii-reported"
    NCII_SYNTHETIC = "ncii-synthetic"
    TVEC = "tvec"
    GRAPHIC_VIOLENCE = "graphic-violence"
    SEXUAL_ABUSE_ADULT = "sexual-abuse-adult"
    ADULT_CONTENT = "adult-content"
    MALWARE = "malware"
    SPAM = "spam"
