# Processes that are canceled, ended, stopped and killed: lines of test/faults.tsv.
use strict;
use warnings;

use Contratos::FaultRun;

Contratos::FaultRun->go(qw(process));
