# Faults of pages: lines of test/faults.tsv.
use strict;
use warnings;

use Contratos::FaultRun;

Contratos::FaultRun->go(qw(page));
