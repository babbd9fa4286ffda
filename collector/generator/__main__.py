"""`python -m collector.generator`: write collector-config.yaml."""

from collector.generator.config import CONFIG, config_text

CONFIG.write_text(config_text(), encoding="utf-8")
