"""A Flash-compatible server to develop against offline; needs the extra `sandbox`.

async with Sandbox(SandboxOptions()) as sandbox:
    client = LightningClientFactory().create(sandbox.connection_string)
"""

from flash_driver.sandbox.bank.invoices import NotPayableError
from flash_driver.sandbox.faults import BadFaultError
from flash_driver.sandbox.options import SandboxOptions
from flash_driver.sandbox.server import Sandbox, run_sandbox

__all__ = ["BadFaultError", "NotPayableError", "Sandbox", "SandboxOptions", "run_sandbox"]
