"""What is wrong with ourselves, in words: figures in, findings out, the worst first. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from city.backups import overdue
from city.uplink import line_of

State = Literal["fail", "warn", "ok"]

GB = 1024**3
LITTLE_DISK_BYTES = 5 * GB  # some days of a district's readings, as `city doctor` has it
NO_DISK_BYTES = GB // 2
LATE = timedelta(minutes=1)  # loops look each second: what waits longer waits for a loop that stands
VERY_LATE = timedelta(minutes=5)
FORECAST_LATE = timedelta(minutes=30)  # a run every five minutes
MANY_REFUSED = 100  # messages an hour
MANY_CONNECTIONS = 0.8  # of what the server allows
LAG_WARN_S, LAG_FAIL_S = 2.0, 30.0
LOG_WARN_S = 10.0  # an owner looks every five

# The page of docs/runbooks that says step by step what to do, by check; those without one say all in their remedy.
RUNBOOKS: Mapping[str, str] = {
    "database": "DatabaseDown",
    "database_disk": "DiskFull",
    "ingest": "IngestDown",
    "broker": "BrokerDown",
    "quarantine": "QuarantineGrowing",
    "loops": "LoopFailing",
    "triage": "AlarmsUntriaged",
    "clocks": "DeadlinesLate",
    "outbox": "OrdersUnsent",
    "undelivered": "OrdersFailed",
    "screens": "ScreenSlow",
    "disk": "DiskFilling",
    "backup": "BackupOld",
    "certificates": "CertificateEnds",
    "log": "LogLagging",
    "uplink": "UplinkCut",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``check`` is a word of the screens' catalogue; texts say how it is, remedies what to do when it is not well."""

    check: str
    state: State
    text: str
    text_zh: str
    remedy: str = ""
    remedy_zh: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was read. Times are UTC; None = there is none. ``free_bytes`` None = the folder is another machine's."""

    now: datetime
    database: str  # ok or down
    database_version: str = ""
    database_bytes: int = 0
    connections: int = 0
    connections_most: int = 0
    missing_migrations: Sequence[str] = ()
    ingest: str  # ok, lagging or down
    ingest_seen_at: datetime | None = None
    lag_s: float | None = None
    pending: int = 0
    broker: str
    broker_refusal: str = ""
    broker_dropped: int = 0
    refused_last_hour: int = 0
    unclaimed: int = 0
    failing: Mapping[str, str]  # loop -> why
    restarts: Mapping[str, int]
    untriaged: int = 0
    untriaged_since: datetime | None = None
    unsent: int = 0  # due and not sent
    unsent_since: datetime | None = None
    folded: int = 0  # in digests to come
    failed_today: int = 0
    clocks_late: int = 0
    clocks_late_since: datetime | None = None
    stations: int = 0
    forecast_at: datetime | None = None
    forecasts_refused: int = 0
    anchored_at: datetime | None = None
    backup_at: datetime | None = None
    born_at: datetime | None = None  # of the database
    backup_most: timedelta = timedelta(0)  # 0 = no backup is asked for
    screens: int = 0
    screens_most: int = 0
    free_bytes: int | None = None
    disk: str = "ok"  # the database's: ok, little or none, as ingest judges it
    certificates_end: Mapping[str, str] | None = None  # those that end soon, by name; None = none does
    database_free_bytes: int | None = None  # None = nobody here can look at its disk
    log_partitions: int = 0  # of the log that several ingest processes share; 0 = there is none
    log_unread: int = 0  # of them, those that no worker looked at for 30 s
    log_lag_records: int = 0
    uplink: Mapping[str, Any] | None = None  # the line to the city; None = there is none
    log_lag_s: float = 0.0  # the longest wait of a record in it
    log_lost: int = 0  # by partitions that lost something within a day


def findings(figures: Figures) -> list[Finding]:
    """Every check, those that are not well first, each group in the order of the chain."""
    found = [check(figures) for check in CHECKS]
    order = {"fail": 0, "warn": 1, "ok": 2}
    return sorted(found, key=lambda finding: order[finding.state])


def _database(figures: Figures) -> Finding:
    if figures.database != "ok":
        return Finding(
            check="database",
            state="fail",
            text="does not answer; nothing new is shown or stored",
            text_zh="没有响应，无法显示和保存新数据",
            remedy="look whether PostgreSQL runs and has disk; everything goes on by itself when it is back",
            remedy_zh="请检查 PostgreSQL 是否运行、磁盘是否已满；恢复后系统自动继续",
        )
    share = figures.connections / figures.connections_most if figures.connections_most else 0.0
    size = figures.database_bytes / GB
    text = f"PostgreSQL {figures.database_version}, {size:.2f} GB, connections {figures.connections}"
    text_zh = f"PostgreSQL {figures.database_version}，{size:.2f} GB，连接数 {figures.connections}"
    if figures.connections_most:
        text, text_zh = f"{text} of {figures.connections_most}", f"{text_zh}/{figures.connections_most}"
    if share > MANY_CONNECTIONS:
        return Finding(
            check="database",
            state="warn",
            text=text,
            text_zh=text_zh,
            remedy="nearly all connections are taken: look who holds them, or raise max_connections",
            remedy_zh="连接数即将用尽：请查找占用者，或调高 max_connections",
        )
    return Finding(check="database", state="ok", text=text, text_zh=text_zh)


def _migrations(figures: Figures) -> Finding:
    if not figures.missing_migrations:
        return Finding(check="migrations", state="ok", text="up to date", text_zh="已是最新")
    names = ", ".join(figures.missing_migrations)
    return Finding(
        check="migrations",
        state="fail",
        text=f"missing {names}",
        text_zh=f"缺少 {names}",
        remedy="run `city migrate`",
        remedy_zh="请运行 city migrate",
    )


def _ingest(figures: Figures) -> Finding:
    if figures.disk == "none":
        return Finding(
            check="ingest",
            state="fail",
            text="takes nothing: the database's disk is full; the broker keeps what comes",
            text_zh="已暂停接收：数据库磁盘已满，消息由消息服务保留",
            remedy="make room on the database's disk; it goes on by itself",
            remedy_zh="请清理数据库磁盘；有空间后自动继续",
        )
    if figures.ingest == "down":
        return Finding(
            check="ingest",
            state="fail",
            text="nothing was heard of it; no alarm can be raised",
            text_zh="没有运行，不会产生任何报警",
            remedy="start `city ingest`, and read its log",
            remedy_zh="请启动 city ingest 并查看其日志",
        )
    lag = figures.lag_s or 0.0
    text = f"{lag:.1f} s behind, {figures.pending} messages in hand"
    text_zh = f"滞后 {lag:.1f} 秒，待处理消息 {figures.pending} 条"
    if lag > LAG_WARN_S or figures.ingest != "ok":
        return Finding(
            check="ingest",
            state="fail" if lag > LAG_FAIL_S else "warn",
            text=text,
            text_zh=text_zh,
            remedy="the backlog is being worked off; if it grows, look at the database's disk and processors",
            remedy_zh="正在追赶积压；如持续增长，请检查数据库的磁盘和处理器",
        )
    return Finding(check="ingest", state="ok", text=text, text_zh=text_zh)


def _broker(figures: Figures) -> Finding:
    if figures.broker != "ok":
        why = figures.broker_refusal
        return Finding(
            check="broker",
            state="fail",
            text=f"ingest is not connected{f': {why}' if why else ''}",
            text_zh=f"采集未连接到消息服务{f'：{why}' if why else ''}",
            remedy="look whether the MQTT broker runs and takes ingest's name and password",
            remedy_zh="请检查 MQTT 服务是否运行、采集的用户名和密码是否有效",
        )
    if figures.broker_dropped:
        return Finding(
            check="broker",
            state="warn",
            text=f"connected; it dropped {figures.broker_dropped} messages since ingest began",
            text_zh=f"已连接；采集启动以来丢弃消息 {figures.broker_dropped} 条",
            remedy="raise the broker's queue limit (max_queued_messages)",
            remedy_zh="请调高消息服务的队列上限（max_queued_messages）",
        )
    return Finding(check="broker", state="ok", text="connected, nothing dropped", text_zh="已连接，无丢弃")


def _log(figures: Figures) -> Finding:
    if not figures.log_partitions:
        return Finding(check="log", state="ok", text="not divided: one machine", text_zh="未分区：单机运行")
    if figures.log_lost:
        return Finding(
            check="log",
            state="fail",
            text=f"{figures.log_lost} messages were dropped unread within a day",
            text_zh=f"近一天有 {figures.log_lost} 条消息未读即被删除",
            remedy="more workers or a longer CITY_STREAM_DAYS; look at what those devices say now (LogLost)",
            remedy_zh="请增加采集进程或延长 CITY_STREAM_DAYS，并核对相关设备的当前状态（LogLost）",
        )
    if figures.log_unread:
        return Finding(
            check="log",
            state="fail",
            text=f"{figures.log_unread} of {figures.log_partitions} partitions are read by nobody",
            text_zh=f"{figures.log_partitions} 个分区中有 {figures.log_unread} 个无人读取",
            remedy="start `city ingest`, or look whether RabbitMQ has two of its three nodes (LogUnread)",
            remedy_zh="请启动 city ingest，或检查 RabbitMQ 三个节点是否至少有两个在运行（LogUnread）",
        )
    lag = figures.log_lag_s
    text = (
        f"{figures.log_partitions} partitions, {figures.log_lag_records} messages unread, {lag:.1f} s behind"
    )
    text_zh = f"{figures.log_partitions} 个分区，未读消息 {figures.log_lag_records} 条，滞后 {lag:.1f} 秒"
    if lag <= LOG_WARN_S:
        return Finding(check="log", state="ok", text=text, text_zh=text_zh)
    return Finding(
        check="log",
        state="fail" if lag > LAG_FAIL_S else "warn",
        text=text,
        text_zh=text_zh,
        remedy="one more `city ingest` takes its share at once, as far as the database can follow",
        remedy_zh="可再启动一个 city ingest，分担立即生效；上限取决于数据库",
    )


def _quarantine(figures: Figures) -> Finding:
    number = figures.refused_last_hour
    many = number >= MANY_REFUSED
    return Finding(
        check="quarantine",
        state="warn" if many else "ok",
        text=f"{number} messages refused within the hour",
        text_zh=f"近一小时拒收消息 {number} 条",
        remedy="look at the quarantine: one device or system sends what cannot be read" if many else "",
        remedy_zh="请查看隔离消息：有设备或系统发送无法识别的内容" if many else "",
    )


def _unclaimed(figures: Figures) -> Finding:
    number = figures.unclaimed
    return Finding(
        check="unclaimed",
        state="warn" if number else "ok",
        text=f"{number} devices send and are not registered",
        text_zh=f"有 {number} 台设备上报但未登记",
        remedy="claim them under devices: until then no alarm of theirs is raised" if number else "",
        remedy_zh="请在“设备”中认领：认领前不会报警" if number else "",
    )


def _loops(figures: Figures) -> Finding:
    if figures.failing:
        name, why = next(iter(figures.failing.items()))
        rest = len(figures.failing) - 1
        return Finding(
            check="loops",
            state="fail",
            text=f"{name}: {why}{f' and {rest} more' if rest else ''}",
            text_zh=f"{name}：{why}{f'，另有 {rest} 个' if rest else ''}",
            remedy="it is started again by itself; if it goes on, the log of the centre says why",
            remedy_zh="会自动重启；如持续失败，请查看指挥中心日志",
        )
    restarts = sum(figures.restarts.values())
    return Finding(
        check="loops",
        state="ok",
        text=f"all run; started again {restarts} times since the centre began",
        text_zh=f"全部运行；启动以来重启 {restarts} 次",
    )


def _waiting(
    check: str, number: int, since: datetime | None, words: tuple[str, str], remedy: tuple[str, str]
) -> Callable[[datetime], Finding]:
    """A queue: well while nothing in it is older than a minute."""

    def finding(now: datetime) -> Finding:
        waited = now - since if since is not None and number else timedelta(0)
        state: State = "fail" if waited > VERY_LATE else "warn" if waited > LATE else "ok"
        seconds = int(waited.total_seconds())
        more, more_zh = (
            (f", the oldest for {seconds} s", f"，最早已等待 {seconds} 秒") if seconds > 0 else ("", "")
        )
        return Finding(
            check=check,
            state=state,
            text=f"{number} {words[0]}{more}",
            text_zh=f"{words[1]} {number} 条{more_zh}",
            remedy=remedy[0] if state != "ok" else "",
            remedy_zh=remedy[1] if state != "ok" else "",
        )

    return finding


def _triage(figures: Figures) -> Finding:
    return _waiting(
        "triage",
        figures.untriaged,
        figures.untriaged_since,
        ("alarms wait to become incidents", "等待成为事件的报警"),
        (
            "the triage loop stands: look at the loops and at the log",
            "报警分诊任务停滞：请查看后台任务和日志",
        ),
    )(figures.now)


def _clocks(figures: Figures) -> Finding:
    return _waiting(
        "clocks",
        figures.clocks_late,
        figures.clocks_late_since,
        ("deadlines passed and nobody was told yet", "到期而尚未提醒的时限"),
        (
            "the deadline loop stands: look at the loops and at the log",
            "时限提醒任务停滞：请查看后台任务和日志",
        ),
    )(figures.now)


def _outbox(figures: Figures) -> Finding:
    return _waiting(
        "outbox",
        figures.unsent,
        figures.unsent_since,
        ("messages are due and not sent", "应发而未发的消息"),
        ("a receiver does not answer: look at the notifications", "接收方没有响应：请查看通知记录"),
    )(figures.now)


def _undelivered(figures: Figures) -> Finding:
    number = figures.failed_today
    return Finding(
        check="undelivered",
        state="warn" if number else "ok",
        text=f"{number} messages given up within a day, {figures.folded} wait for a digest",
        text_zh=f"近一天放弃发送 {number} 条，等待汇总 {figures.folded} 条",
        remedy="call those who were not reached, correct the address, send again" if number else "",
        remedy_zh="请电话通知未送达的接收方，更正地址后重发" if number else "",
    )


def _forecasts(figures: Figures) -> Finding:
    if figures.stations == 0:
        return Finding(check="forecasts", state="ok", text="no station", text_zh="没有测站")
    age = figures.now - figures.forecast_at if figures.forecast_at else None
    refused = figures.forecasts_refused
    if age is None or age > FORECAST_LATE:
        minutes = None if age is None else int(age.total_seconds() // 60)
        return Finding(
            check="forecasts",
            state="warn",
            text="none yet" if minutes is None else f"the newest is {minutes} min old",
            text_zh="尚无预报" if minutes is None else f"最新预报已是 {minutes} 分钟前",
            remedy="a station needs days of readings before it is forecast; else look at the loops",
            remedy_zh="测站需积累数日读数才会预报；否则请查看后台任务",
        )
    return Finding(
        check="forecasts",
        state="ok",
        text=f"{figures.stations} stations, the newest run {int(age.total_seconds())} s ago, {refused} refused",
        text_zh=f"{figures.stations} 站，最近一次 {int(age.total_seconds())} 秒前，其中 {refused} 站不作预报",
    )


def _anchors(figures: Figures) -> Finding:
    if figures.anchored_at is None:
        return Finding(check="anchors", state="ok", text="nothing anchored yet", text_zh="尚无存证")
    hours = (figures.now - figures.anchored_at) / timedelta(hours=1)
    return Finding(
        check="anchors",
        state="ok",
        text=f"timelines anchored {hours:.1f} h ago",
        text_zh=f"办理过程 {hours:.1f} 小时前存证",
    )


def _backup(figures: Figures) -> Finding:
    late = overdue(figures.backup_at, figures.born_at, figures.now, figures.backup_most) is not None
    if figures.backup_at is None:
        text, text_zh = "none was made yet", "尚无备份"
    else:
        hours = (figures.now - figures.backup_at) / timedelta(hours=1)
        text, text_zh = f"the newest good one is {hours:.1f} h old", f"最近一次有效备份在 {hours:.1f} 小时前"
    return Finding(
        check="backup",
        state="warn" if late else "ok",
        text=text,
        text_zh=text_zh,
        remedy="run `city backup FOLDER`, and look why the daily one did not" if late else "",
        remedy_zh="请运行 city backup，并检查每日备份为何未执行" if late else "",
    )


def _certificates(figures: Figures) -> Finding:
    if not figures.certificates_end:
        return Finding(
            check="certificates",
            state="ok",
            text="none towards the broker ends within 30 days",
            text_zh="与消息服务之间的证书 30 天内均不到期",
        )
    said = sorted(figures.certificates_end.items(), key=lambda one: one[1])
    gone = said[0][1] <= figures.now.isoformat()
    return Finding(
        check="certificates",
        state="fail" if gone else "warn",
        text="; ".join(f"{name} ends on {until[:10]}" for name, until in said),
        text_zh="；".join(f"{name} 于 {until[:10]} 到期" for name, until in said),
        remedy="renew it before that day: from then on ingest and devices are refused",
        remedy_zh="请在到期前更换：到期后采集和设备都会被拒绝连接",
    )


def _screens(figures: Figures) -> Finding:
    full = figures.screens_most and figures.screens >= figures.screens_most * 0.9
    return Finding(
        check="screens",
        state="warn" if full else "ok",
        text=f"{figures.screens} connected to this process, room for {figures.screens_most}",
        text_zh=f"本进程已连接 {figures.screens} 块，上限 {figures.screens_most}",
        remedy="run another centre process beside this one" if full else "",
        remedy_zh="请再启动一个指挥中心进程" if full else "",
    )


def _database_disk(figures: Figures) -> Finding:
    if figures.database_free_bytes is None:
        return Finding(
            check="database_disk",
            state="ok",
            text="not watched: name its folder in CITY_DISK_PATHS, or a size in CITY_DATABASE_MAX_GB",
            text_zh="未监视：可设置 CITY_DISK_PATHS（目录）或 CITY_DATABASE_MAX_GB（上限）",
        )
    states: dict[str, State] = {"ok": "ok", "little": "warn", "none": "fail"}
    state = states.get(figures.disk, "warn")
    return Finding(
        check="database_disk",
        state=state,
        text=f"{figures.database_free_bytes / GB:.1f} GB free for the database",
        text_zh=f"数据库可用空间 {figures.database_free_bytes / GB:.1f} GB",
        remedy="make room or lower CITY_RETENTION_DAYS: ingest stops before PostgreSQL has to"
        if state != "ok"
        else "",
        remedy_zh="请清理磁盘或缩短 CITY_RETENTION_DAYS：空间不足时先暂停接收，再影响数据库"
        if state != "ok"
        else "",
    )


def _disk(figures: Figures) -> Finding:
    if figures.free_bytes is None:
        return Finding(check="disk", state="ok", text="not on this machine", text_zh="不在本机")
    free = figures.free_bytes
    state: State = "ok" if free > LITTLE_DISK_BYTES else "warn" if free > NO_DISK_BYTES else "fail"
    return Finding(
        check="disk",
        state=state,
        text=f"{free / GB:.1f} GB free for the centre's files",
        text_zh=f"数据目录所在磁盘剩余 {free / GB:.1f} GB",
        remedy="make room, or move CITY_DATA_DIR" if state != "ok" else "",
        remedy_zh="请清理磁盘，或迁移 CITY_DATA_DIR" if state != "ok" else "",
    )


def _uplink(figures: Figures) -> Finding:
    line = figures.uplink
    if line is None:
        return Finding(
            check="uplink", state="ok", text="this district reports to nobody", text_zh="本区未配置上联"
        )
    state, waiting = line_of(line), int(line["waiting"])
    since = f"{line['since']:%Y-%m-%d %H:%MZ}"
    more, more_zh = f"{waiting} readings wait", f"待上报读数 {waiting} 条"
    if state == "stopped":
        return Finding(
            check="uplink",
            state="fail",
            text=f"city uplink does not run; {more}",
            text_zh=f"上联程序未运行，{more_zh}",
            remedy="start `city uplink`, and read its log; nothing is lost meanwhile",
            remedy_zh="请启动 city uplink 并查看其日志；期间数据不会丢失",
        )
    if state == "cut":
        return Finding(
            check="uplink",
            state="warn",
            text=f"cut since {since}: {line['why']}; {more}",
            text_zh=f"自 {since} 起中断：{line['why']}；{more_zh}",
            remedy="look at the line and at the city's broker; the district works on, and catches up by itself",
            remedy_zh="请检查线路和市级消息服务；本区照常运行，恢复后自动补报",
        )
    if line["refused"] or line["expired"]:
        topic = line["refused_topic"]
        return Finding(
            check="uplink",
            state="warn",
            text=f"up; {line['refused']} messages refused, the last on {topic}; {line['expired']} readings given up",
            text_zh=f"正常；被拒消息 {line['refused']} 条，最近为 {topic}；已放弃读数 {line['expired']} 条",
            remedy="register the device at the city behind this node, then `city uplink-again`",
            remedy_zh="请在市级将该设备登记到本节点之下，然后运行 city uplink-again",
        )
    behind, behind_zh = ("catching up, ", "补报中，") if state == "behind" else ("", "")
    return Finding(
        check="uplink",
        state="ok",
        text=f"up since {since}, {behind}{more}",
        text_zh=f"自 {since} 起正常，{behind_zh}{more_zh}",
    )


CHECKS: tuple[Callable[[Figures], Finding], ...] = (
    _database,
    _migrations,
    _broker,
    _log,
    _ingest,
    _quarantine,
    _unclaimed,
    _loops,
    _triage,
    _clocks,
    _outbox,
    _undelivered,
    _forecasts,
    _anchors,
    _backup,
    _certificates,
    _screens,
    _database_disk,
    _disk,
    _uplink,
)
