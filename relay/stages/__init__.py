"""The steps of the line: functions that take their tools as arguments and do not know each other."""
