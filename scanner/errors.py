"""The errors of the scanner.

A verdict is a value, so no content of any kind ever raises: bytes that cannot be examined are reported as
`unscannable`. What raises is a scanner that cannot be built or was closed, and input from an administrator
that cannot be read.

    ScannerError
    ├── MalformedError       bytes that were to be parsed are not what they should be
    ├── SettingsError        the settings contradict themselves
    ├── SandboxError         the sandbox could not be applied and the settings do not accept that
    └── ScannerClosedError   the scanner was used after it was closed
"""


class ScannerError(Exception):
    """Root of everything that this package raises."""


class MalformedError(ScannerError):
    """Untrusted bytes could not be parsed."""


class SettingsError(ScannerError):
    """The settings contradict themselves or name something that does not exist."""


class SandboxError(ScannerError):
    """The decoder's sandbox could not be applied."""


class ScannerClosedError(ScannerError):
    """The scanner was closed before or during this call."""
