//! The list prices, as AWS had them on [`AS_OF`](super::AS_OF). What is not in a table has no price here.

/// The regions, in the order of every row below.
pub const REGIONS: [&str; 16] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "sa-east-1",
];

/// A type of machine and what an hour of it costs.
pub struct Type {
    /// The cloud's name of it.
    pub name: &'static str,
    /// Its virtual processors.
    pub vcpu: u8,
    /// Its memory, in GiB.
    pub memory_gib: u8,
    /// An hour of it with Linux, on demand and shared, by region, in hundred-thousandths of a dollar; 0 where the
    /// region does not have it.
    pub hour: [u64; REGIONS.len()],
}

const fn of(name: &'static str, vcpu: u8, memory_gib: u8, hour: [u64; REGIONS.len()]) -> Type {
    Type { name, vcpu, memory_gib, hour }
}

/// Types of x86-64, since golden images are of that. <https://aws.amazon.com/ec2/pricing/on-demand/>
#[rustfmt::skip]
pub const TYPES: [Type; 18] = [
    of("t3.micro",        2,  1, [ 1040,  1040,  1240,  1040,  1160,  1140,  1180,  1180,  1200,  1080,  1120,  1320,  1320,  1360,  1300,  1680]),
    of("t3.small",        2,  2, [ 2080,  2080,  2480,  2080,  2320,  2280,  2360,  2360,  2400,  2160,  2240,  2640,  2640,  2720,  2600,  3360]),
    of("t3.medium",       2,  4, [ 4160,  4160,  4960,  4160,  4640,  4560,  4720,  4720,  4800,  4320,  4480,  5280,  5280,  5440,  5200,  6720]),
    of("t3.large",        2,  8, [ 8320,  8320,  9920,  8320,  9280,  9120,  9440,  9440,  9600,  8640,  8960, 10560, 10560, 10880, 10400, 13440]),
    of("t3.xlarge",       4, 16, [16640, 16640, 19840, 16640, 18560, 18240, 18880, 18880, 19200, 17280, 17920, 21120, 21120, 21760, 20800, 26880]),
    of("t3a.micro",       2,  1, [  940,   940,  1120,   940,  1040,  1020,  1060,  1060,  1080,     0,   620,  1180,  1190,  1220,  1170,  1510]),
    of("t3a.small",       2,  2, [ 1880,  1880,  2230,  1880,  2090,  2040,  2120,  2120,  2160,     0,  1230,  2360,  2380,  2450,  2340,  3020]),
    of("t3a.medium",      2,  4, [ 3760,  3760,  4460,  3760,  4180,  4080,  4250,  4250,  4320,     0,  2460,  4720,  4750,  4900,  4680,  6050]),
    of("t3a.large",       2,  8, [ 7520,  7520,  8930,  7520,  8350,  8160,  8500,  8500,  8640,     0,  4930,  9440,  9500,  9790,  9360, 12100]),
    of("t3a.xlarge",      4, 16, [15040, 15040, 17860, 15040, 16700, 16320, 16990, 16990, 17280,     0,  9860, 18880, 19010, 19580, 18720, 24190]),
    of("m6i.large",       2,  8, [ 9600,  9600, 11200,  9600, 10700, 10700, 11100, 11200, 11500, 10200, 10100, 12000, 12000, 12400, 11800, 15300]),
    of("m6i.xlarge",      4, 16, [19200, 19200, 22400, 19200, 21400, 21400, 22200, 22400, 23000, 20400, 20200, 24000, 24000, 24800, 23600, 30600]),
    of("m7i-flex.large",  2,  8, [ 9576,  9576, 11172,  9576, 10673, 10673, 11072, 11172, 11471, 10175, 10075, 11970, 11970, 12369, 11771, 15262]),
    of("m7i-flex.xlarge", 4, 16, [19152, 19152, 22344, 19152, 21346, 21346, 22144, 22344, 22942, 20350, 20150, 23940, 23940, 24738, 23542, 30524]),
    of("c6i.large",       2,  4, [ 8500,  8500, 10600,  8500,  9300,  9120, 10100, 10100,  9700,  9100,  8500,  9800, 11100, 10700,  9600, 13100]),
    of("c6i.xlarge",      4,  8, [17000, 17000, 21200, 17000, 18600, 18240, 20200, 20200, 19400, 18200, 17000, 19600, 22200, 21400, 19200, 26200]),
    of("c7i-flex.large",  2,  4, [ 8479,  8479, 10574,  8479,  9277,  9097, 10075, 10075,  9676,  9077,  8479,  9778, 11072, 10673,  9576, 13067]),
    of("c7i-flex.xlarge", 4,  8, [16958, 16958, 21147, 16958, 18554, 18194, 20150, 20150, 19352, 18154, 16958, 19555, 22144, 21346, 19152, 26134]),
];

/// A month of a GiB of a gp3 volume at its basic speed, by region, in hundred-thousandths of a dollar.
/// <https://aws.amazon.com/ebs/pricing/>
#[rustfmt::skip]
pub const GP3_GIB: [u64; REGIONS.len()] = [
    8000, 8000, 9600, 8000, 8800, 8800, 9280, 9280, 9520, 8360, 9120, 9600, 9600, 9600, 9120, 15200,
];

/// A month of a GiB that is stored of a snapshot, in the standard tier, by region, in hundred-thousandths of a dollar.
/// <https://aws.amazon.com/ebs/pricing/>
#[rustfmt::skip]
pub const SNAPSHOT_GIB: [u64; REGIONS.len()] = [
    5000, 5000, 5500, 5000, 5500, 5000, 5300, 5300, 5400, 4750, 5000, 5000, 5500, 5000, 5000, 6800,
];

/// An hour of a public IPv4 address, in hundred-thousandths of a dollar: in every region, in use or idle.
/// <https://aws.amazon.com/vpc/pricing/>
pub const PUBLIC_IPV4_HOUR: u64 = 500;
