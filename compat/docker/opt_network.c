/* Networks */
#include "compat/docker/tables.h"

static const struct opt_def options_network_connect[] = {
    OPT("alias", 0, OPT_STRINGS, "strings", "Add network-scoped alias for the container", OURS),
    OPT("driver-opt", 0, OPT_STRINGS, "strings", "driver options for the network", REFUSED(NO_ADDRESSES)),
    OPT("gw-priority", 0, OPT_INT, "int",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        REFUSED(NO_ADDRESSES)),
    OPT("ip", 0, OPT_STRING, "string", "IPv4 address (e.g., \"172.30.100.104\")", REFUSED(NO_ADDRESSES)),
    OPT("ip6", 0, OPT_STRING, "string", "IPv6 address (e.g., \"2001:db8::33\")", REFUSED(NO_ADDRESSES)),
    OPT("link", 0, OPT_LIST, "list", "Add link to another container",
        REFUSED("containers are not linked here; --alias gives names"), .check = opt_check_link),
    OPT("link-local-ip", 0, OPT_STRINGS, "strings", "Add a link-local address for the container",
        REFUSED(NO_ADDRESSES)),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_connect = {
    .path = "network connect",
    .usage = "[OPTIONS] NETWORK CONTAINER",
    .summary = "Connect a container to a network",
    .options = options_network_connect,
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_create[] = {
    FLAG("attachable", 0, "Enable manual container attachment", OURS),
    OPT("aux-address", 0, OPT_MAP, "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver",
        REFUSED(NO_ADDRESSES), .def = "map[]"),
    OPT("config-from", 0, OPT_STRING, "string", "The network from which to copy the configuration",
        REFUSED(SWARM_ONLY)),
    FLAG("config-only", 0, "Create a configuration only network", REFUSED(SWARM_ONLY)),
    OPT("driver", 'd', OPT_STRING, "string", "Driver to manage the Network", OURS, .def = "bridge"),
    OPT("gateway", 0, OPT_STRINGS, "strings", "IPv4 or IPv6 Gateway for the master subnet", REFUSED(NO_ADDRESSES)),
    FLAG("ingress", 0, "Create swarm routing-mesh network", REFUSED(SWARM_ONLY)),
    FLAG("internal", 0, "Restrict external access to the network", OURS),
    OPT("ip-range", 0, OPT_STRINGS, "strings", "Allocate container ip from a sub-range", REFUSED(NO_ADDRESSES)),
    OPT("ipam-driver", 0, OPT_STRING, "string", "IP Address Management Driver", OURS, .def = "default"),
    OPT("ipam-opt", 0, OPT_MAP, "map", "Set IPAM driver specific options", REFUSED(NO_ADDRESSES), .def = "map[]"),
    FLAG("ipv4", 0, "Enable or disable IPv4 address assignment", OURS, .def = "true"),
    FLAG("ipv6", 0, "Enable or disable IPv6 address assignment", REFUSED(NO_ADDRESSES)),
    OPT("label", 0, OPT_LIST, "list", "Set metadata on a network", OURS, .check = opt_check_label),
    OPT("opt", 'o', OPT_MAP, "map", "Set driver specific options", OURS, .def = "map[]"),
    OPT("scope", 0, OPT_STRING, "string", "Control the network's scope", OURS),
    OPT("subnet", 0, OPT_STRINGS, "strings", "Subnet in CIDR format that represents a network segment",
        REFUSED(NO_ADDRESSES)),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_create = {
    .path = "network create",
    .usage = "[OPTIONS] NETWORK",
    .summary = "Create a network",
    .options = options_network_create,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_disconnect[] = {
    FLAG("force", 'f', "Force the container to disconnect from a network", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_disconnect = {
    .path = "network disconnect",
    .usage = "[OPTIONS] NETWORK CONTAINER",
    .summary = "Disconnect a container from a network",
    .options = options_network_disconnect,
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_inspect[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    FLAG("verbose", 'v', "Verbose output for diagnostics", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_inspect = {
    .path = "network inspect",
    .usage = "[OPTIONS] NETWORK [NETWORK...]",
    .summary = "Display detailed information on one or more networks",
    .options = options_network_inspect,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_ls[] = {
    OPT("filter", 'f', OPT_FILTER, "filter", "Provide filter values (e.g. \"driver=bridge\")", OURS),
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    FLAG("no-trunc", 0, "Do not truncate the output", OURS),
    FLAG("quiet", 'q', "Only display network IDs", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_ls = {
    .path = "network ls",
    .aliases = "docker network ls, docker network list",
    .usage = "[OPTIONS]",
    .summary = "List networks",
    .options = options_network_ls,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_prune[] = {
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"until=<timestamp>\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_prune = {
    .path = "network prune",
    .usage = "[OPTIONS]",
    .summary = "Remove all unused networks",
    .options = options_network_prune,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_network_rm[] = {
    FLAG("force", 'f', "Do not error if the network does not exist", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_network_rm = {
    .path = "network rm",
    .aliases = "docker network rm, docker network remove",
    .usage = "NETWORK [NETWORK...]",
    .summary = "Remove one or more networks",
    .options = options_network_rm,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};
