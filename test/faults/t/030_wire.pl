# Faults of the wire, of TLS and of the catalog: lines of test/faults.tsv.
use strict;
use warnings;

use Contratos::FaultRun;

Contratos::FaultRun->go(qw(wire tls catalog));
