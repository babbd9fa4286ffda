"""`python -m collector.generator`: write collector-config.yaml anew."""

from collector.generator.config import CONFIG, config_text

CONFIG.write_text(config_text(), encoding="utf-8")
