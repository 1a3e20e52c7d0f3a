# Faults of PostgreSQL: lines of test/faults.tsv.
use strict;
use warnings;

use Contratos::FaultRun;

Contratos::FaultRun->go(qw(postgres));
