"""The jobs of this repository. To run your own instead, set ``ARQWAY_JOBS=package.module:JOBS``."""

from arqway import Registry
from arqway.workers.jobs.report.generate import NEEDS, generate_report, open_report_resources

JOBS = Registry([generate_report], resources=open_report_resources, needs=NEEDS)
