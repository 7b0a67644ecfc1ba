"""The configuration: one TOML file, every key also an environment variable, secrets from files.

`load_settings` checks everything before anything is started and reports all problems at once. The models in
`sections` and `policy` are the one source of the template that `init` writes and of the reference page.
"""

from relay.config.loading import (
    CONFIG_VARIABLE,
    InvalidSettingsError,
    Problem,
    find_config_file,
    load_settings,
    read_environment,
)
from relay.config.policy import BackendAction, CategoryPolicy, Conditions, DeliveryHandling, Policy, Retention
from relay.config.sections import Software, default_data_dir
from relay.config.settings import Settings, csam_handling_problems, loosened_policies
from relay.config.writing import InitAnswers, build_reference, default_toml, dump_toml

__all__ = [
    "CONFIG_VARIABLE",
    "BackendAction",
    "CategoryPolicy",
    "Conditions",
    "DeliveryHandling",
    "InitAnswers",
    "InvalidSettingsError",
    "Policy",
    "Problem",
    "Retention",
    "Settings",
    "Software",
    "build_reference",
    "csam_handling_problems",
    "default_data_dir",
    "default_toml",
    "dump_toml",
    "find_config_file",
    "load_settings",
    "loosened_policies",
    "read_environment",
]
