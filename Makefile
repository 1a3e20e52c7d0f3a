# contratos: PGXS build.  `make PG_CONFIG=/path/to/pg_config install`
EXTENSION = contratos
DATA = $(wildcard extension/*.sql)
DOCS = README.md README.pt-BR.md SECURITY.md $(wildcard docs/*.md)
MODULE_big = contratos
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*/*.c)))

PKG_CONFIG ?= pkg-config
LIBRARIES = libcurl jansson openssl
PG_CPPFLAGS = -Isrc $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
# C99 declares at first use; Debian builds PostgreSQL with a warning against it
PG_CFLAGS = -Wno-declaration-after-statement
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(LIBRARIES)) -Wl,--version-script=exports.map

# What needs no network; `make installcheck` runs against any server.
REGRESS = setup options arguments queue plans
REGRESS_OPTS = --inputdir=. --outputdir=.

# No bitcode unless asked for (with_llvm=yes): it would compile everything once
# more, with the clang that PostgreSQL was built with, for a JIT that gains
# nothing here.
ifndef with_llvm
override with_llvm = no
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
# not in the folder of all extensions: others have a reference.md, too
docmoduledir = contratos

# PGXS follows no headers: any of them rebuilds all, which takes seconds
$(OBJS): $(wildcard src/*/*.h) Makefile
$(shlib): exports.map Makefile

# make help: not in the distribution, which has no script/
-include script/targets.mk
