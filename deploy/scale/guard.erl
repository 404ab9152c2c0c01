%% What RabbitMQ 4.3.6 lacks when a node is cut off and comes back alive (docs/scale.md, "A node that is cut off").
%% Evaluated as the node starts: -eval ok=file:eval("…/guard.erl"). `city doctor` sees it as an application city_guard.
%%
%% 1. MQTT connections of this node are closed when such a node is there again. RabbitMQ numbers what a connection writes
%%    to a stream and takes a lower number for a repetition. Messages to a node that is cut off vanish, later ones reach it
%%    as it comes back; were it elected then, what vanished would be sent again under its lower numbers, confirmed and not
%%    written. A device that connects anew begins a numbering of its own. For a node that died nothing is closed.
%% 2. Whoever stops hearing a node tells the others, which let go of it at once. A replica that knows earlier than the
%%    coordinator of its streams that its leader is gone is started again and again, and then not for five seconds.
%% 3. Where that happened all the same, the coordinator's five seconds of sleep are ended: what sleeps is one attempt to
%%    start one replica, whose failure the coordinator answers by looking at the stream as it is now.

Life = fun(Node) -> try erpc:call(Node, erlang, system_info, [creation], 1000) catch _:_ -> unknown end end.

Close = fun(Node) ->
    try rabbit_mqtt:close_local_client_connections(Node) of
        {ok, Count} -> logger:warning("city_guard: ~ts was cut off and is back; closed ~b MQTT connections", [Node, Count])
    catch _:_ -> ok %% no MQTT yet: nobody to close
    end
end.

Sleeps = fun(Pid) ->
    case process_info(Pid, current_stacktrace) of
        {_, [{timer, sleep, _, _} | Under]} ->
            lists:any(fun({Module, Function, _, _}) ->
                Module =:= rabbit_stream_coordinator andalso lists:prefix("-phase_start_replica", atom_to_list(Function))
            end, Under);
        _ -> false
    end
end.

Wake = fun() ->
    lists:foreach(fun(After) ->
        timer:sleep(After),
        case [Pid || Pid <- processes(), Sleeps(Pid)] of
            [] -> ok;
            Found ->
                logger:info("city_guard: ~b replicas were to be started in five seconds, now", [length(Found)]),
                [exit(Pid, kill) || Pid <- Found]
        end
    end, [300, 500, 1000])
end.

Watch = fun Watch(Lives) ->
    receive
        {nodeup, Node, _} ->
            Now = Life(Node),
            Now =:= maps:get(Node, Lives, none) andalso Close(Node),
            Watch(if Now =:= unknown -> Lives; true -> Lives#{Node => Now} end);
        {nodedown, Node, [{nodedown_reason, Reason}]} ->
            [erlang:send({city_guard, Other}, {silent, Node}, [noconnect])
                || Reason =:= net_tick_timeout, Other <- nodes()],
            spawn(Wake),
            Watch(Lives);
        {silent, Node} ->
            erlang:disconnect_node(Node),
            Watch(Lives)
    end
end.

Begin = fun Begin() ->
    case is_alive() of
        true ->
            ok = net_kernel:monitor_nodes(true, [nodedown_reason]),
            Watch(#{Node => Life(Node) || Node <- nodes()});
        false -> %% RabbitMQ gives itself its name a moment later
            timer:sleep(100),
            Begin()
    end
end.

spawn(fun() ->
    register(city_guard, self()),
    process_flag(priority, high),
    Begin()
end).

ok = application:load({application, city_guard, [
    {description, "closes MQTT connections after a cut"}, {vsn, "1"}, {modules, []}, {registered, []},
    {applications, [kernel, stdlib]}
]}).
ok = application:start(city_guard).
