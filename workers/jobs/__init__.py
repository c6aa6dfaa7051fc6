"""The jobs of this repository. To run your own instead, set ``ARQWAY_JOBS=package.module:JOBS``."""

from arqway import Registry
from arqway.workers.jobs.report.generate import generate_report
from arqway.workers.jobs.report.resources import NEEDS, open_report_resources

JOBS = Registry([generate_report], resources=open_report_resources, needs=NEEDS)
