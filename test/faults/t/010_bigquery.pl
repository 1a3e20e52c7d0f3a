# Faults of the token endpoint and of jobs: lines of test/faults.tsv.
use strict;
use warnings;

use Contratos::FaultRun;

Contratos::FaultRun->go(qw(token job));
