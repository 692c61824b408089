/*
 * The control interface: JSON over plain HTTP on a loopback port of its own. What it offers is in
 * mrtoken-emulator(1).
 */
#ifndef MRTOKEND_EMULATOR_CONTROL_H
#define MRTOKEND_EMULATOR_CONTROL_H

#include "emulator/server.h"

/* Its context is a struct emulator. */
extern const struct server_kind control_kind;

#endif
