"""LNURL-pay and Lightning addresses."""
